"""Pages of lists: how many entries one holds, and the token with which its reader goes on."""

import base64
import binascii
import hashlib
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from parade.wire.errors import ParadeError, Violation, invalid

DEFAULT_SIZE: Final = 100
MAX_SIZE: Final = 1000
MAX_BYTES: Final = 2 * 1024 * 1024
"""Where a page ends before it is full, so that it fits into a message."""
MAX_DIGITS: Final = 17
"""Of the numbers in a token: they fit into a database's, and are microseconds until the year 5138."""

EntryT = TypeVar("EntryT")


def size_of(wanted: int) -> int:
    """Returns how many entries a page has; 0 asks for `DEFAULT_SIZE`.

    Raises:
        ParadeError: INVALID_ARGUMENTS, where it is negative.
    """
    if wanted < 0:
        raise invalid([Violation("page_size", "must not be negative")])
    return min(wanted or DEFAULT_SIZE, MAX_SIZE)


def page_of(
    entries: Sequence[EntryT], size: int, scope: str, name: Callable[[EntryT], str], weight: Callable[[EntryT], int]
) -> tuple[list[EntryT], str]:
    """Cuts a page out of what was read, and returns it with the token of the next; an empty one at the end.

    Args:
        entries: What follows the page before, at least one more than `size` where there is more.
        size: How many entries a page has.
        scope: Of which list; a token works for no other.
        name: Gives what the list is ordered by.
        weight: Gives about the bytes that an entry takes in a message.
    """
    page: list[EntryT] = []
    total = 0
    for entry in entries[:size]:
        total += weight(entry)
        if page and total > MAX_BYTES:
            break
        page.append(entry)
    return page, token_of(scope, name(page[-1])) if len(page) < len(entries) else ""


def token_of(scope: str, last: str) -> str:
    """Returns the token that goes on after the entry `last`."""
    return base64.urlsafe_b64encode(f"{_mark(scope)}\n{last}".encode()).decode().rstrip("=")


def last_of(scope: str, token: str) -> str:
    """Returns after which entry a token goes on; an empty text for no token.

    Raises:
        ParadeError: INVALID_ARGUMENTS, where it is no token of this list.
    """
    if not token:
        return ""
    try:
        text = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True).decode("utf-8")
    except (binascii.Error, ValueError):
        text = ""
    match text.split("\n"):
        case [mark, last] if mark == _mark(scope) and last:
            return last
    raise _no_token()


def whole(text: str) -> int:
    """Returns a whole number, not negative, that a token holds as text: no secret makes tokens, so anybody can make one that is none.

    Raises:
        ParadeError: INVALID_ARGUMENTS, where it is none that a database takes.
    """
    if text.isascii() and text.isdecimal() and len(text) <= MAX_DIGITS:
        return int(text)
    raise _no_token()


def _no_token() -> ParadeError:
    return invalid([Violation("page_token", "is no token of this list; start again without one")])


def _mark(scope: str) -> str:
    return hashlib.sha256(scope.encode()).hexdigest()[:16]
