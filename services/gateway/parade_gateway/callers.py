"""Who asks: the holder of an API key, in the namespace that the key opens, or a person with a token, in the one that is asked for."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Final, NamedTuple

from parade.wire.errors import ParadeError, Reason, Violation, invalid
from parade.wire.identity import DEFAULT_NAMESPACE, NAME
from parade_chassis.grants import Grants
from parade_gateway.authentication import Keys
from parade_gateway.caller import Caller
from parade_gateway.challenge import challenged
from parade_gateway.tokens import Tokens

NAMESPACE: Final = "x-parade-namespace"
"""The header with the namespace that a person asks for."""
_SCHEME: Final = "bearer "

_caller = lru_cache(4096)(Caller)
"""A caller is the same for as long as nothing about it changes, and takes longer to make than to look up."""


class Shown(NamedTuple):
    """What a request shows of who makes it."""

    text: str
    """The key or the token."""
    namespace: str
    """The namespace that it asks for; empty where it asks for none."""


class Callers:
    """Everybody who may come in."""

    def __init__(self, keys: Keys, tokens: Tokens | None, grants: Grants) -> None:
        """Takes who knows keys, tokens and roles; no tokens where there is no issuer that people log in at."""
        self._keys = keys
        self._tokens = tokens
        self._grants = grants

    def known(self, shown: Shown) -> Caller | None:
        """Returns who this is, where that was seen a moment ago.

        Raises:
            ParadeError: As `caller`.
        """
        if _is_token(shown.text):
            principal = self._tokens.known(shown.text) if self._tokens is not None else None
            return None if principal is None else self._person(principal, shown.namespace)
        caller = self._keys.known(shown.text)
        return caller if caller is None or not shown.namespace else _inside(caller, shown.namespace)

    async def caller(self, shown: Shown) -> Caller:
        """Returns who this is.

        Raises:
            HttpError: 401 where it is nobody.
            ParadeError: INVALID_ARGUMENTS where the namespace is none; PERMISSION_DENIED where the key does not open it; NO_CAPACITY where
                too many unknown keys were shown; UNAVAILABLE or DEADLINE_EXCEEDED where nobody can say.
        """
        if not _is_token(shown.text):
            return _inside(await self._keys.caller(shown.text), shown.namespace)
        if self._tokens is None:
            raise challenged("nobody logs in at this gateway: show an API key; PARADE_GATEWAY_OIDC_ISSUER lets people in", "invalid_token")
        return self._person(await self._tokens.principal(shown.text), shown.namespace)

    def _person(self, principal: str, asked: str) -> Caller:
        namespace = asked or DEFAULT_NAMESPACE
        if not NAME.fullmatch(namespace):
            raise invalid([Violation(NAMESPACE, 'must be a lower-case letter and then lower-case letters, digits or "-", at most 40')])
        if not self._grants.known:
            raise ParadeError(Reason.UNAVAILABLE, "this gateway has not been told yet who may do what; try again")
        return _caller(principal, namespace, self._grants.role_of(principal, namespace))


def shown_by(headers: Mapping[str, str]) -> Shown:
    """Returns what a request shows: a key or a token in `Authorization`, or a key in `x-api-key`.

    Raises:
        HttpError: 401 where it shows nothing.
    """
    said = headers.get("authorization", "")
    text = said[len(_SCHEME) :].strip() if said.lower().startswith(_SCHEME) else headers.get("x-api-key", "").strip()
    if not text:
        raise challenged("show an API key, as `Authorization: Bearer parade_…` or `x-api-key: parade_…`, or the token of a login")
    return Shown(text, headers.get(NAMESPACE, ""))


def _is_token(text: str) -> bool:
    return "." in text  # which no key has, and every signed token does


def _inside(caller: Caller, asked: str) -> Caller:
    """Returns the holder of a key, which opens one namespace."""
    if asked and asked != caller.namespace:
        raise ParadeError(Reason.PERMISSION_DENIED, f"{caller.principal} opens namespace {caller.namespace}, not {asked[:40]!r}")
    return caller
