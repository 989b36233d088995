"""Pages: how many entries one holds, and the token with which its reader goes on."""

import base64
import binascii
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from parade.wire.errors import Violation, invalid

DEFAULT_SIZE = 100
MAX_SIZE = 1000
MAX_BYTES = 2 * 1024 * 1024
"""Where a page ends before it is full, so that it fits into a message."""
_VERSION = "1"

EntryT = TypeVar("EntryT")


@dataclass(frozen=True, slots=True)
class Page(Generic[EntryT]):
    """Some entries of a list."""

    entries: tuple[EntryT, ...]
    next_token: str
    """Where to go on; empty at the end."""


def page_of(
    entries: Sequence[EntryT], name: Callable[[EntryT], str], weight: Callable[[EntryT], int], size: int, token: str, scope: str
) -> Page[EntryT]:
    """Cuts a page out of entries that are in the order of their names. Entries that come and go meanwhile neither repeat nor hide others.

    Args:
        entries: All entries.
        name: Gives an entry's name, which is unique.
        weight: Gives about the bytes that an entry takes in a message.
        size: How many are wanted: 0 for `DEFAULT_SIZE`; more than `MAX_SIZE` gives that many.
        token: The token of the page before; empty for the first page.
        scope: What is listed; a token works for no other list.

    Raises:
        ParadeError: INVALID_ARGUMENTS: the size is negative, or the token is none of this list.
    """
    if size < 0:
        raise invalid([Violation("page_size", "must not be negative")])
    start = bisect_right(entries, _decoded(token, scope), key=name) if token else 0
    chosen: list[EntryT] = []
    total = 0
    for entry in entries[start : start + min(size or DEFAULT_SIZE, MAX_SIZE)]:
        total += weight(entry)
        if chosen and total > MAX_BYTES:
            break
        chosen.append(entry)
    return Page(tuple(chosen), _encoded(name(chosen[-1]), scope) if start + len(chosen) < len(entries) else "")


def _encoded(name: str, scope: str) -> str:
    return base64.urlsafe_b64encode(f"{_VERSION}\n{scope}\n{name}".encode()).decode().rstrip("=")


def _decoded(token: str, scope: str) -> str:
    try:
        text = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True).decode("utf-8")
    except (binascii.Error, ValueError):
        text = ""
    match text.split("\n"):
        case [version, of, name] if (version, of) == (_VERSION, scope):
            return name
    raise invalid([Violation("page_token", "is no token of this list; start again without one")])
