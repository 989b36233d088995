"""Whether a JSON Schema can be held against a value within time in proportion to both.

A validator follows references as often as it meets them. A schema of two kilobytes whose thirty definitions refer to the next one twice
takes half a minute for the value `1`; one that refers to itself twice in one place takes time exponential in the depth of the value.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from parade.wire.errors import ParadeError, Violation, invalid

MAX_PARTS: Final = 10_000
"""How many parts a schema may have, its references written out."""
MAX_TARGETS: Final = 200
"""How many parts may be referred to."""
MAX_DEPTH: Final = 150
"""How deep a schema may nest, its references written out."""

_HERE: Final = ("allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas", "dependencies")
"""The words whose schemas are for the same value."""
_MEMBERS: Final = ("patternProperties", "additionalProperties", "unevaluatedProperties", "propertyNames")
_ITEMS: Final = ("items", "contains", "unevaluatedItems", "additionalItems")
_REFUSED: Final = ("$dynamicRef", "$recursiveRef", "$anchor", "$dynamicAnchor")


def check(schema: Mapping[str, Any]) -> None:
    """Refuses a schema that could take too long.

    Raises:
        ParadeError: INVALID_ARGUMENTS, where it has too many parts, refers to itself more than once for one value, or has references that
            are not followed here.
    """
    _Bounds(schema).check()


class _Bounds:
    """Follows the references of one schema."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root
        self._targets: dict[str, Any] = {}
        """What is referred to, by the reference."""
        self._circular: frozenset[str] = frozenset()
        """The references that lead to themselves again."""
        self._sizes: dict[str, int] = {}
        self._meetings: dict[str, int] = {}

    def check(self) -> None:
        mappings = list(_mappings(self._root))
        if not any(word.startswith("$") for mapping in mappings for word in mapping):
            return
        if any(isinstance(mapping.get("$id"), str) for mapping in mappings[1:]):
            raise _refused("`$id` may stand at its top only")  # below it, references would begin at another place
        self._circular = _circular(self._references())
        if self._size(self._root, 0) > MAX_PARTS:
            raise _refused(f"it has more than {MAX_PARTS:,} parts, its references written out")
        for reference in sorted(self._circular):
            if self._met(self._targets[reference], 0) > 1:
                raise _refused(f"`{reference[:60]}` refers to itself more than once for one value")

    def _references(self) -> dict[str, set[str]]:
        """Returns, for each reference, those that stand in what it refers to."""
        found: dict[str, set[str]] = {}
        waiting = [reference for part in _parts(self._root) for reference in self._of(part)]
        while waiting:
            reference = waiting.pop()
            if reference in found:
                continue
            if len(found) == MAX_TARGETS:
                raise _refused(f"it refers to more than {MAX_TARGETS} of its parts")
            self._targets[reference] = self._target(reference)
            found[reference] = {other for part in _parts(self._targets[reference]) for other in self._of(part)}
            waiting.extend(found[reference])
        return found

    def _of(self, schema: Any) -> list[str]:
        """Returns the reference that stands in one part, if there is one."""
        if not isinstance(schema, Mapping):
            return []
        for word in _REFUSED:
            if word in schema:
                raise _refused(f"`{word}` is not understood here; write `$ref`")
        reference = schema.get("$ref")
        return [reference] if isinstance(reference, str) else []

    def _target(self, reference: str) -> Any:
        """Returns what a reference leads to (https://www.rfc-editor.org/rfc/rfc6901)."""
        if not reference.startswith("#/") and reference != "#":
            raise _refused(f"`{reference[:60]}` is not followed; a reference is written `#/$defs/<name>`")
        target: Any = self._root
        for key in reference[1:].split("/")[1:]:
            word = key.replace("~1", "/").replace("~0", "~")
            if isinstance(target, Mapping) and word in target:
                target = target[word]
            elif isinstance(target, list) and word.isdecimal() and int(word[:9]) < len(target):
                target = target[int(word[:9])]
            else:
                raise _refused(f"`{reference[:60]}` leads nowhere")
        return target

    def _size(self, schema: Any, depth: int) -> int:
        """Returns how many parts a schema has, its references written out."""
        self._check_depth(depth)
        size = 1
        for reference in self._of(schema):
            if reference not in self._sizes:
                self._sizes[reference] = 1  # what stands in a circle is met again in other values
                self._sizes[reference] = self._size(self._targets[reference], depth + 1)
            size += self._sizes[reference]
        for part in _children(schema, *_HERE, *_MEMBERS, *_ITEMS, "properties", "prefixItems"):
            size += self._size(part, depth + 1)
        return size

    def _check_depth(self, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise _refused(f"it is nested more than {MAX_DEPTH} deep, its references written out")

    def _met(self, schema: Any, depth: int) -> int:
        """Returns how often one value is at most held against something circular, from a schema that it is held against."""
        here, members, items = self._places(schema, depth)
        return here + max(members, items)

    def _places(self, schema: Any, depth: int) -> tuple[int, int, int]:
        """Returns the same for the value itself, for a member of it, and for an item."""
        self._check_depth(depth)
        here = members = items = 0
        for reference in self._of(schema):
            here += 1 if reference in self._circular else self._met_through(reference, depth)
        for part in _children(schema, *_HERE):
            in_part = self._places(part, depth + 1)
            here, members, items = here + in_part[0], members + in_part[1], items + in_part[2]
        members += max((self._met(part, depth + 1) for part in _children(schema, "properties")), default=0)
        members += sum(self._met(part, depth + 1) for part in _children(schema, *_MEMBERS))
        items += max((self._met(part, depth + 1) for part in _children(schema, "prefixItems")), default=0)
        items += sum(self._met(part, depth + 1) for part in _children(schema, *_ITEMS))
        return here, members, items

    def _met_through(self, reference: str, depth: int) -> int:
        if reference not in self._meetings:
            self._meetings[reference] = self._met(self._targets[reference], depth + 1)
        return self._meetings[reference]


def _circular(references: Mapping[str, set[str]]) -> frozenset[str]:
    """Returns the references from which one comes back to them."""
    circular = set()
    for reference in references:
        reached: set[str] = set()
        waiting = [*references[reference]]
        while waiting:
            other = waiting.pop()
            if other not in reached:
                reached.add(other)
                waiting.extend(references[other])
        if reference in reached:
            circular.add(reference)
    return frozenset(circular)


def _children(schema: Any, *words: str) -> Iterator[Any]:
    """Yields the schemas that stand under some words of a schema."""
    if not isinstance(schema, Mapping):
        return
    for word in words:
        value = schema.get(word)
        if isinstance(value, list):
            yield from value
        elif isinstance(value, Mapping) and word in ("properties", "patternProperties", "dependentSchemas", "dependencies"):
            yield from value.values()
        elif isinstance(value, Mapping):
            yield value


def _parts(schema: Any) -> Iterator[Any]:
    """Yields a schema and all that stand in it."""
    waiting = [schema]
    while waiting:
        part = waiting.pop()
        yield part
        waiting.extend(_children(part, *_HERE, *_MEMBERS, *_ITEMS, "properties", "prefixItems"))


def _mappings(value: Any) -> Iterator[Mapping[str, Any]]:
    """Yields every mapping in a value, the outermost first."""
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, Mapping):
            yield part
            waiting.extend(part.values())
        elif isinstance(part, list):
            waiting.extend(part)


def _refused(why: str) -> ParadeError:
    return invalid([Violation("schema", why)], f"this JSON Schema is not taken: {why}")
