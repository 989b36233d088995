"""Between the model and what is stored, both ways; pure.

A class of the model becomes a JSON object of those fields that are not at their default. Which fields there are, and how each is written,
is read once from the class itself, so that a new field needs no line here. Names that a reader does not know are passed over: a newer
replica may have written them. A state or a kind that it does not know is a `NewerError`.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from functools import lru_cache
from types import NoneType, UnionType
from typing import Any, Final, Generic, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from parade.wire.errors import ParadeError, Reason
from parade_scheduler.document import Document

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_REQUIRED: Final = object()
"""Stands for the default of a field that has none; equal to no value."""

ModelT = TypeVar("ModelT")
EnumT = TypeVar("EnumT", bound=Enum)


class NewerError(ParadeError):
    """What is stored cannot be read, because only a newer scheduler knows it. One of those can be asked."""

    def __init__(self, kind: str, word: str) -> None:
        """Takes what was read, and the word that is not known."""
        message = f"a newer scheduler has written this: its {kind} `{word}` is not known here; ask again, a newer one will answer"
        super().__init__(Reason.UNAVAILABLE, message)


class Documents:
    """The JSON values that some objects refer to by place, each kept once."""

    __slots__ = ("_places", "data")

    def __init__(self) -> None:
        """Starts empty."""
        self._places: dict[int, int] = {}
        self.data: list[bytes] = []

    def place(self, document: Document) -> int:
        """Returns where a document is kept, counted from 0. It must live for as long as this does."""
        place = self._places.get(id(document))
        if place is None:
            self._places[id(document)] = place = len(self.data)
            self.data.append(document.data)
        return place


Find = Callable[[int], Document]
"""Returns the document of a place."""
_Write = Callable[[Any, Documents], Any]
_Read = Callable[[Any, Find], Any]


class Codec(Generic[ModelT]):
    """Writes and reads the objects of one dataclass."""

    def __init__(self, kind: type[ModelT], leave_out: Collection[str] = ()) -> None:
        """Looks at the class's fields.

        Args:
            kind: The class.
            leave_out: Fields that are kept elsewhere.

        Raises:
            TypeError: A field has a type that cannot be kept.
        """
        hints = get_type_hints(kind)
        kept = [field for field in fields(kind) if field.name not in leave_out]  # type: ignore[arg-type]  # a dataclass, as it says
        codecs = {field.name: _codec(hints[field.name]) for field in kept}
        self._kind = kind
        self._reads = {name: read for name, (_, read) in codecs.items()}
        self.write: Callable[[ModelT, Documents], dict[str, Any]] = _writer([(field, codecs[field.name][0]) for field in kept])
        """Returns what orjson can write; documents are put into those that it is given."""

    def read(self, facts: Mapping[str, Any], find: Find, **others: Any) -> ModelT:
        """Makes the object again; `others` are the fields that were left out."""
        reads = self._reads
        for name, value in facts.items():
            if name in reads:
                read = reads[name]
                others[name] = value if read is None else read(value, find)
        return self._kind(**others)


def _writer(kept: Iterable[tuple[Field[Any], _Write | None]]) -> Callable[[Any, Documents], dict[str, Any]]:
    """Makes a function of one line a field, as `dataclasses` does: a loop over the fields takes twice as long, with every step of a run."""
    names: dict[str, Any] = {}
    lines = ["def write(value, documents):", " facts = {}"]
    for field, write in kept:
        name, default = field.name, _default(field)
        names[f"default_{name}"], names[f"write_{name}"] = default, write
        lines.append(f" field = value.{name}")
        if default is None:
            lines.append(" if field is not None:")
        elif default is not _REQUIRED:
            lines.append(f" if field is not default_{name} and field != default_{name}:")
        else:
            lines.append(" if True:")
        lines.append(f"  facts[{name!r}] = " + ("field" if write is None else f"write_{name}(field, documents)"))
    exec("\n".join([*lines, " return facts"]), names)  # noqa: S102  # of nothing but the names of a class's fields
    return cast("Callable[[Any, Documents], dict[str, Any]]", names["write"])


def to_micros(time: datetime | None) -> int | None:
    """Writes a time."""
    return None if time is None else micros_of(time)


@lru_cache(maxsize=1024)  # one commit has few different times, each many times
def micros_of(time: datetime) -> int:
    """Writes a time that is there."""
    since = time - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def to_time(micros: int | None) -> datetime | None:
    """Reads a time."""
    return None if micros is None else time_of(micros)


def time_of(micros: int) -> datetime:
    """Reads a time that is there."""
    return _EPOCH + timedelta(microseconds=micros)


def member_of(kind: type[EnumT], word: str) -> EnumT:
    """Reads a member of an enum.

    Raises:
        NewerError: There is none of that name.
    """
    try:
        return kind(word)
    except ValueError:
        raise NewerError(kind.__name__, word) from None


def _default(field: Field[Any]) -> Any:
    if field.default_factory is not MISSING:
        return field.default_factory()
    return _REQUIRED if field.default is MISSING else field.default


def _codec(hint: Any) -> tuple[_Write | None, _Read | None]:
    """Returns how values of a type are written and read; None for as they are."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        [hint] = [argument for argument in arguments if argument is not NoneType]
        return _codec(hint)
    if origin is tuple and arguments[1:] == (Ellipsis,):
        return _sequence(*_codec(arguments[0]))
    if isinstance(origin, type) and issubclass(origin, Mapping) and arguments == (str, str):
        return lambda value, _: dict(value), None
    if hint in (str, int, float, bool):
        return None, None
    if hint is datetime:
        return lambda value, _: micros_of(value), lambda value, _: time_of(value)
    if hint is Document:
        return lambda value, documents: documents.place(value), lambda value, find: find(value)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return None, lambda value, _: member_of(hint, value)
    if is_dataclass(hint) and isinstance(hint, type):
        codec = Codec(hint)
        return codec.write, codec.read
    raise TypeError(f"{hint} cannot be kept")


def _sequence(write: _Write | None, read: _Read | None) -> tuple[_Write | None, _Read]:
    def write_all(values: Sequence[Any], documents: Documents) -> list[Any]:
        return [write(value, documents) for value in values] if write is not None else list(values)

    def read_all(values: Sequence[Any], find: Find) -> tuple[Any, ...]:
        return tuple(read(value, find) for value in values) if read is not None else tuple(values)

    return write_all, read_all
