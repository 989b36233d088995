"""What an API key looks like, and how it is known again: an id, a secret, and a checksum by which a mistyped one is told without asking.

    parade_<id, 10 characters>_<secret, 43 characters><checksum, 6 characters>

All of base62, so that a double click takes the whole and a scanner for leaked secrets finds it. The checksum is the CRC-32 of what stands
before it, as in GitHub's tokens (https://github.blog/engineering/platform-security/behind-githubs-new-authentication-token-formats/).
"""

import hashlib
import re
import secrets
import string
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

PREFIX: Final = "parade_"
_LETTERS: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
_ID_LENGTH: Final = 10
_SECRET_LENGTH: Final = 43
"""256 random bits and a little more: nothing to guess, so that a plain hash of it may be kept."""
_CHECKSUM_LENGTH: Final = 6
_SHAPE = re.compile(rf"parade_([0-9A-Za-z]{{{_ID_LENGTH}}})_[0-9A-Za-z]{{{_SECRET_LENGTH + _CHECKSUM_LENGTH}}}", re.ASCII)


@dataclass(frozen=True, slots=True)
class KeyMark:
    """What may be known of a key by others than its holder."""

    id: str
    digest: bytes
    """The SHA-256 of the whole key."""


def new_key(choose: Callable[[str], str] = secrets.choice) -> str:
    """Returns a new key."""
    id, secret = ("".join(choose(_LETTERS) for _ in range(length)) for length in (_ID_LENGTH, _SECRET_LENGTH))
    key = f"{PREFIX}{id}_{secret}"
    return key + _checksum(key)


def mark_of(key: str) -> KeyMark | None:
    """Returns the mark of a key; None where the text is no key at all, or not as it was made."""
    match = _SHAPE.fullmatch(key)
    if match is None or key[-_CHECKSUM_LENGTH:] != _checksum(key[:-_CHECKSUM_LENGTH]):
        return None
    return KeyMark(match[1], digest_of(key))


def digest_of(key: str) -> bytes:
    """Returns what is kept of a key."""
    return hashlib.sha256(key.encode()).digest()


def _checksum(text: str) -> str:
    number, letters = zlib.crc32(text.encode()), ""
    for _ in range(_CHECKSUM_LENGTH):
        number, letter = divmod(number, len(_LETTERS))
        letters = _LETTERS[letter] + letters
    return letters
