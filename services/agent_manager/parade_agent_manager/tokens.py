"""Join tokens: secrets with which one instance of one agent can enrol, once. Only their hashes are kept."""

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from parade.wire.errors import Violation, invalid
from parade.wire.identity import NAME
from parade.wire.join_token import SHAPE

DEFAULT_LIFETIME = 600.0
"""Seconds that a token can be used where nobody says otherwise."""
MAX_LIFETIME = 3600.0
SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class JoinToken:
    """What is kept of a join token."""

    hash: str
    namespace: str
    agent: str
    expires: datetime
    key_fingerprint: str = ""
    """The key that has used it; empty while none has."""
    instance: str = ""
    """The id of the instance that it made; empty while it is unused."""

    def admits(self, key_fingerprint: str, now: datetime) -> bool:
        """Returns whether a key can enrol with it: the first that comes, and the same again."""
        return now < self.expires and self.key_fingerprint in ("", key_fingerprint)


def new_secret(random_text: Callable[[int], str] = secrets.token_urlsafe) -> str:
    """Returns 256 random bits."""
    return random_text(SECRET_BYTES)


def hash_of(token: str) -> str:
    """Returns what is kept of a token; empty where the text is no token at all.

    A plain hash is enough: there is nothing to guess in 256 random bits.
    """
    return hashlib.sha256(token.encode()).hexdigest() if SHAPE.fullmatch(token) else ""


def require_grantable(agent: str, lifetime: float) -> None:
    """Holds what a token can be made for.

    Args:
        agent: The agent that may join.
        lifetime: Seconds that the token can be used.

    Raises:
        ParadeError: INVALID_ARGUMENTS with every fault.
    """
    violations = []
    if not NAME.fullmatch(agent):
        violations.append(
            Violation("agent", f'"{agent[:80]}" is not a lower-case letter and then lower-case letters, digits or "-", at most 40')
        )
    if not 0 < lifetime <= MAX_LIFETIME:
        violations.append(Violation("ttl", "must be more than 0 and at most 1 hour"))
    if violations:
        raise invalid(violations)
