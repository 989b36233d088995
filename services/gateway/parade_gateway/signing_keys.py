"""The keys with which an issuer signs its tokens: found by OpenID Connect Discovery, fetched when they are first needed, and kept a while.

Sources: https://openid.net/specs/openid-connect-discovery-1_0.html, and RFC 7517 for the keys.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from parade.wire import web
from parade.wire.errors import ParadeError, Reason
from parade.wire.log import Log
from parade_chassis.clock import Clock

if TYPE_CHECKING:
    from jwt import PyJWK

FRESH: Final = 300.0
"""Seconds after which keys are fetched again. Nobody waits for it until as much time has gone by once more."""
KEPT: Final = 3600.0
"""Seconds that keys are believed while the issuer cannot be reached."""
COOL_DOWN: Final = 10.0
"""Seconds between two attempts to fetch keys, whoever shows a token with whatever key."""
FETCH_TIMEOUT: Final = 5.0
"""Seconds that an attempt may take."""
MOST_KEYS: Final = 100
LEAST_RSA_BITS: Final = 2048
ALGORITHMS: Final = frozenset({"ES256", "ES384", "ES512", "EdDSA", "PS256", "PS384", "PS512", "RS256", "RS384", "RS512"})
"""How a token may be signed. All are asymmetric: who can check one can make none."""
DISCOVERY: Final = "/.well-known/openid-configuration"

Fetch = Callable[[str], dict[str, Any]]
"""Reads a document; it blocks, and runs in a thread."""


class SigningKeys:
    """The keys of one issuer."""

    def __init__(self, issuer: str, tasks: asyncio.TaskGroup, clock: Clock, log: Log, fetch: Fetch | None = None) -> None:
        """Takes what it needs, and fetches nothing yet.

        Args:
            issuer: The issuer's URL, as its tokens name it.
            tasks: What looks after an attempt to fetch keys.
            clock: The time.
            log: Where it says that keys cannot be fetched.
            fetch: Reads a document; over HTTP where not given.
        """
        self._issuer = issuer
        self._tasks = tasks
        self._clock = clock
        self._log = log
        self._fetch = fetch or _fetched
        self._keys: Mapping[str, PyJWK] = {}
        self._until = 0.0
        """Until when they are believed, by the monotonic clock."""
        self._stale = 0.0
        """When they are to be fetched again."""
        self._next_attempt = float("-inf")
        self._attempt: asyncio.Task[None] | None = None

    async def find(self, name: str) -> "PyJWK | None":
        """Returns a key by its name, or the only one for the empty name; None where the issuer has none such.

        Raises:
            ParadeError: UNAVAILABLE where the issuer's keys cannot be fetched.
        """
        found, now = self._named(name), self._clock.monotonic()
        if found is not None and now < self._stale:
            return found
        attempt = self._fetching()
        if found is not None and now < self._stale + FRESH:
            return found
        if attempt is not None:
            await asyncio.wait({attempt})
        if not self._believed():
            raise ParadeError(Reason.UNAVAILABLE, f"the keys of {self._issuer} cannot be fetched at the moment; try again")
        return self._named(name)

    def _named(self, name: str) -> "PyJWK | None":
        if not self._believed():
            return None
        if not name and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return self._keys.get(name)

    def _believed(self) -> bool:
        return bool(self._keys) and self._clock.monotonic() < self._until

    def _fetching(self) -> asyncio.Task[None] | None:
        """Returns the attempt to fetch the keys that is under way, or a new one; None where the last one was just before."""
        if self._attempt is not None and not self._attempt.done():
            return self._attempt
        now = self._clock.monotonic()
        if now < self._next_attempt:
            return None
        self._next_attempt = now + COOL_DOWN
        self._attempt = self._tasks.create_task(self._fetch_keys(), name="signing keys")
        return self._attempt

    async def _fetch_keys(self) -> None:
        try:
            async with asyncio.timeout(FETCH_TIMEOUT):
                keys = await asyncio.to_thread(self._read)
        except (ParadeError, TimeoutError) as error:
            self._log.warning("the keys of the issuer cannot be fetched", issuer=self._issuer, reason=str(error) or "no answer in time")
            return
        now = self._clock.monotonic()
        self._keys, self._stale, self._until = keys, now + FRESH, now + KEPT

    def _read(self) -> "dict[str, PyJWK]":
        found = self._fetch(self._issuer.rstrip("/") + DISCOVERY)
        if found.get("issuer") != self._issuer:
            raise ParadeError(Reason.UNAVAILABLE, f"it calls itself {str(found.get('issuer'))[:200]!r}")
        return _usable(self._fetch(str(found.get("jwks_uri"))).get("keys"))


def _fetched(url: str) -> dict[str, Any]:
    answer = web.get(url, timeout=FETCH_TIMEOUT)
    if answer.status != 200:
        raise ParadeError(Reason.UNAVAILABLE, f"{url} answers with {answer.status}")
    return answer.document


def _usable(described: Any) -> "dict[str, PyJWK]":
    """Returns the keys that may sign a token, by their names.

    Raises:
        ParadeError: UNAVAILABLE where there is none.
    """
    # Here, because it brings `cryptography`, 13 MB that a gateway without people does not need.
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from jwt import PyJWK, PyJWTError

    usable: dict[str, PyJWK] = {}
    for one in described[:MOST_KEYS] if isinstance(described, list) else ():
        try:
            key = PyJWK(one)
        except (PyJWTError, AttributeError, NotImplementedError, TypeError, ValueError):
            continue  # of a kind that is not known here; others of the set may be
        small = isinstance(key.key, RSAPublicKey) and key.key.key_size < LEAST_RSA_BITS
        name: Any = key.key_id or ""
        if key.algorithm_name in ALGORITHMS and key.public_key_use in (None, "sig") and isinstance(name, str) and not small:
            usable[name] = key
    if not usable:
        raise ParadeError(Reason.UNAVAILABLE, "it shows no key that could sign a token")
    return usable
