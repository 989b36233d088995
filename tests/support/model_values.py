"""Any values of the scheduler's model, for tests of properties: made from the fields of its classes."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any, get_args, get_origin, get_type_hints

from hypothesis import strategies as st

from parade_scheduler.document import Document

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
LEAVES: dict[Any, st.SearchStrategy[Any]] = {
    str: TEXTS,
    int: st.integers(-(2**53), 2**53),
    float: st.floats(allow_nan=False, allow_infinity=False),
    bool: st.booleans(),
    datetime: st.datetimes(timezones=st.just(UTC)),
    Document: st.binary(max_size=8).map(Document),
}


def values(hint: Any) -> st.SearchStrategy[Any]:
    """Returns the values of a type: a class of the model, or the type of one of its fields."""
    origin, arguments = get_origin(hint), get_args(hint)
    if type(None) in arguments:
        return st.none() | st.one_of([values(argument) for argument in arguments if argument is not type(None)])
    if origin is tuple:
        return st.lists(values(arguments[0]), max_size=3).map(tuple)
    if origin is Mapping:
        return st.dictionaries(TEXTS, TEXTS, max_size=3)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return st.sampled_from(hint)
    if isinstance(hint, type) and is_dataclass(hint):
        hints = get_type_hints(hint)
        return st.builds(hint, **{field.name: values(hints[field.name]) for field in fields(hint)})
    return LEAVES[hint]
