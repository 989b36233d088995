"""JSON values into and out of CEL: no more in than an expression refers to, nothing out that JSON does not know."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from cel_expr_python import cel

from parade_scheduler.document import type_name
from parade_scheduler.expression.references import Path, Reference

MAX_NODES: Final = 200_000
"""How many values a computed result may hold together. A plain path has no such bound: it is handed on as it is."""
MAX_TEXT: Final = 4 * 1024 * 1024
"""How many characters its texts may have together. CEL shares what is repeated, but a result is written out; no more may travel anyway."""


class NoValueError(Exception):
    """A value that cannot be had; its text says why."""


def resolve(bindings: Mapping[str, Any], path: Path) -> Any:
    """Follows a path.

    Raises:
        NoValueError: There is nothing at that path.
    """
    value: Any = bindings
    for depth, key in enumerate(path):
        place = ".".join(map(str, path[:depth])) or "the expression's names"
        if isinstance(value, Mapping) and isinstance(key, str):
            if key not in value:
                raise NoValueError(f"there is no `{key}` in `{place}`{_choices(value)}")
            value = value[key]
        elif isinstance(value, list) and isinstance(key, int):
            if key >= len(value):
                raise NoValueError(f"there is no item {key} in `{place}`, which has {len(value)}")
            value = value[key]
        else:
            raise NoValueError(f"`{place}` is {type_name(value)} and has no `{key}`")
    return value


def pruned(bindings: Mapping[str, Any], paths: Iterable[Path]) -> dict[str, Any]:
    """Returns the part of the bindings that the paths can reach. Turning a value into CEL's costs in proportion to its size."""
    result: dict[str, Any] = {}
    for path in sorted(paths, key=len, reverse=True):  # the longest first: a shorter one then replaces what it contains
        source: Any = bindings
        target = result
        for depth, key in enumerate(path):
            if not isinstance(source, Mapping) or key not in source:
                break
            source = source[key]
            follows = depth + 1 < len(path) and isinstance(path[depth + 1], str) and isinstance(source, Mapping)
            if not follows:
                target[str(key)] = source
                break
            target = target.setdefault(str(key), {})
    return result


def plain(value: "cel.Value") -> Any:
    """Returns what CEL computed as a JSON value; objects have their keys in order, because CEL keeps none.

    Raises:
        NoValueError: It is an error, it is nothing that JSON knows, or it is too large.
    """
    return _plain(value, _Budget(), 0)


def extent(bindings: Mapping[str, Any], reference: Reference) -> tuple[int, int]:
    """Returns how many bytes the largest text or list that a reference gives takes, and how many items the longest list or object has.

    A list of which a macro takes the items one by one counts by these.
    """
    try:
        remaining = [resolve(bindings, reference.path)]
    except NoValueError:
        return 0, 0
    largest = longest = 0
    if reference.iterated and isinstance(remaining[0], Mapping | list):
        longest = len(remaining[0])
        remaining = [*remaining[0], *(remaining[0].values() if isinstance(remaining[0], Mapping) else ())]
    while remaining:
        item = remaining.pop()
        if isinstance(item, str):
            largest = max(largest, len(item))
        elif isinstance(item, Mapping | list):
            longest = max(longest, len(item))
            largest = max(largest, _ITEM_BYTES * len(item))
            remaining.extend(item.values() if isinstance(item, Mapping) else item)
    return largest, longest


@dataclass(slots=True)
class _Budget:
    """What is left of the bounds of a result."""

    nodes: int = MAX_NODES
    text: int = MAX_TEXT


def _plain(value: "cel.Value", budget: _Budget, depth: int) -> Any:
    budget.nodes -= 1
    if budget.nodes < 0 or depth > _MAX_DEPTH:
        raise NoValueError(f"the result is too large: more than {MAX_NODES:,} values, or nested more than {_MAX_DEPTH} deep")
    kind = value.type().name()
    # A null is never converted: cel-expr-python 0.1.3 gives up a reference to None each time, until the interpreter aborts.
    if kind == _NULL:
        return None
    if kind == _TEXT:
        text = value.plain_value()
        budget.text -= len(text)
        if budget.text < 0:
            raise NoValueError(f"the result is too large: its texts have more than {MAX_TEXT:,} characters")
        return text
    if kind in _SCALARS:
        return value.plain_value()
    if kind == _DOUBLE:
        number = value.plain_value()
        if not math.isfinite(number):
            raise NoValueError(f"the result is {number}, which is no JSON number")
        return number
    if kind.startswith(_LIST):
        return [_plain(item, budget, depth + 1) for item in value.value()]
    if kind.startswith(_MAP):
        entries = value.value()
        if not all(isinstance(key, str) for key in entries):
            raise NoValueError("the result is an object with keys that are no texts; write string(…) around them")
        return {key: _plain(entries[key], budget, depth + 1) for key in sorted(entries)}
    if kind == _ERROR:
        raise NoValueError(_explained(str(value.plain_value())))
    raise NoValueError(f"the result is of the type {kind.lower()}, which JSON does not know; string(…) makes a text of it")


_MAX_DEPTH: Final = 128
_NULL: Final = cel.Type.NULL.name()
_TEXT: Final = cel.Type.STRING.name()
_DOUBLE: Final = cel.Type.DOUBLE.name()
_ERROR: Final = cel.Type.ERROR.name()
_LIST: Final = cel.Type.LIST.name()
_MAP: Final = cel.Type.MAP.name()
_SCALARS: Final = frozenset(kind.name() for kind in (cel.Type.BOOL, cel.Type.INT, cel.Type.UINT))
_ITEM_BYTES: Final = 16
"""What a place in CEL's lists takes."""


def _explained(error: str) -> str:
    """Returns CEL's words for an error without its code, and with what helps."""
    text = error.split(": ", 1)[-1].strip()
    if "_(int64, double)" in text or "_(double, int64)" in text:
        return f"{text}; write double(…) around the whole number"
    return text


def _choices(value: Mapping[str, Any]) -> str:
    return f"; there are {', '.join(sorted(map(str, value))[:10])}" if value else ""
