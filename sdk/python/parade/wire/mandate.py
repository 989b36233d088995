"""Mandates: what an agent shows to say for whom it works, and how far that reaches. Every hop may only narrow it.

It knows what a mandate says; who makes one and who believes it, `mandate_issuer` and `mandate_verifier` know.

Source: OAuth 2.0 Transaction Tokens (draft-ietf-oauth-transaction-tokens); the actors as in RFC 8693, section 4.1.
"""

import re
from collections.abc import Collection
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final, NamedTuple

import orjson

from parade.wire.errors import ParadeError, Reason
from parade.wire.identity import Identity

TYPE: Final = "txntoken+jwt"
"""The type in a mandate's header."""
ALGORITHM: Final = "ES256"
MAX_BYTES: Final = 8192
"""Bytes of the longest mandate that is looked at."""
MOST_FUNCTIONS: Final = 32
"""Functions that one may be narrowed to."""
MOST_AGENTS: Final = 16
"""Agents that may work for somebody one through the other."""
MANDATE: Final = "mandate"
"""The key in an error's metadata under which stands why a mandate was refused: a value of `Refusal`."""

EVERYTHING: Final = ("*",)
"""The functions of a mandate that was not narrowed."""
is_pattern: Final = re.compile(r"\*|[a-z][a-z0-9-]{0,39}\.(?:\*|[A-Za-z][A-Za-z0-9_-]{0,62})").fullmatch
"""Matches what names functions: `agent.function`, `agent.*`, and `*` for all."""


class Refusal(StrEnum):
    """Why a mandate is refused, for programs; the error's message says it to people."""

    MISSING = "missing"
    MALFORMED = "malformed"
    SIGNER = "signer"
    SIGNATURE = "signature"
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    HOLDER = "holder"
    NAMESPACE = "namespace"
    CALL = "call"
    FUNCTION = "function"
    DEPTH = "depth"


class Scope(NamedTuple):
    """How far a right reaches that is passed on. As a whole it is a part of keys of dictionaries."""

    functions: tuple[str, ...] = EVERYTHING
    """What may be called: `agent.function`, `agent.*`, or `*`."""
    actors: tuple[str, ...] = ()
    """The agents that passed it on, the last one first."""
    transaction: str = ""
    """What all the calls have in common that come of one; empty before there is a mandate."""


WHOLE: Final = Scope()
"""The scope of a call that nobody has narrowed and no agent has made for another."""


class Mandate(NamedTuple):
    """What a mandate says."""

    issuer: str
    """The SPIFFE id of the dispatcher that made it."""
    subject: str
    """For whom: a SPIFFE id, or the subject of an API key or a person."""
    namespace: str
    holder: str
    """The agent that it is for (see `holder_of`)."""
    run: str
    """The run that it belongs to; empty outside runs."""
    scope: Scope
    issued: int
    """When it was made, in seconds since 1970."""
    expires: int
    """When it ends."""


@lru_cache(maxsize=1024)
def holder_of(identity: Identity) -> str:
    """Returns the name by which an agent holds mandates: its SPIFFE id without the instance, since each may have its calls."""
    return agent_id(identity.domain, identity.namespace, identity.name)


def agent_id(domain: str, namespace: str, agent: str) -> str:
    """Returns the SPIFFE id that an agent's instances share the beginning of."""
    return f"spiffe://{domain}/ns/{namespace}/agent/{agent}"


def covers(functions: Collection[str], function: str) -> bool:
    """Tells whether a function, or a pattern of them, is within others.

    Args:
        functions: Functions and patterns.
        function: `agent.function`, `agent.*` or `*`.
    """
    return "*" in functions or function in functions or function.partition(".")[0] + ".*" in functions


def narrowed(functions: tuple[str, ...], asked: Collection[str]) -> tuple[str, ...]:
    """Returns what two lists of functions and patterns have in common.

    Args:
        functions: How far a right reaches.
        asked: How far it is to reach; where it is empty, as far as before.
    """
    if not asked:
        return functions
    return tuple(sorted({one for one in asked if covers(functions, one)} | {one for one in functions if covers(asked, one)}))


def claims(mandate: Mandate, domain: str) -> bytes:
    """Encodes what a mandate says.

    Args:
        mandate: The mandate.
        domain: The trust domain, in which alone it holds.
    """
    act: dict[str, Any] = {}
    for actor in reversed((mandate.holder, *mandate.scope.actors)):
        act = {"sub": actor, "act": act} if act else {"sub": actor}
    return orjson.dumps(
        {
            "iss": mandate.issuer,
            "aud": domain,
            "iat": mandate.issued,
            "exp": mandate.expires,
            "txn": mandate.scope.transaction,
            "sub": mandate.subject,
            "act": act,
            "tctx": {"namespace": mandate.namespace, "run": mandate.run, "functions": mandate.scope.functions},
        }
    )


def read(payload: bytes, domain: str) -> Mandate:
    """Decodes what a mandate says. Whether to believe it is the verifier's to find out.

    Args:
        payload: What `claims` made.
        domain: The trust domain.

    Raises:
        ValueError: It is malformed, or of another trust domain; the text says how.
    """
    match orjson.loads(payload):
        case {
            "iss": str(issuer),
            "aud": str(audience),
            "iat": int(issued),
            "exp": int(expires),
            "txn": str(transaction),
            "sub": str(subject),
            "act": {"sub": str(holder), **before},
            "tctx": {"namespace": str(namespace), "run": str(run), "functions": list(functions), **more_context},
            **more,
        } if not more and not more_context:
            if audience != domain:
                raise ValueError(f"it is for the trust domain {audience}; this is {domain}")
            if not all(isinstance(one, str) for one in functions):
                raise ValueError("its functions are not texts")
            scope = Scope(tuple(functions), _actors(before), transaction)
            return Mandate(issuer, subject, namespace, holder, run, scope, issued, expires)
    raise ValueError("it lacks a claim, or has one too many")


def _actors(claim: dict[Any, Any]) -> tuple[str, ...]:
    found: list[str] = []
    while claim:
        match claim:
            case {"act": {"sub": str(actor), **before}} if len(claim) == 1:
                found.append(actor)
                claim = before
            case _:
                raise ValueError("its actors cannot be read")
    return tuple(found)


def refused(why: Refusal, text: str) -> ParadeError:
    """Makes the error for a mandate that is not believed, or does not reach so far.

    Args:
        why: The rule that speaks against it.
        text: What is wrong with it, and what to do.
    """
    return ParadeError(Reason.PERMISSION_DENIED, f"the mandate shown is refused: {text}", metadata={MANDATE: why})
