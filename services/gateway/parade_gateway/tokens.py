"""Who shows a token of the issuer that people log in at: an access token (RFC 9068), or an id token of OpenID Connect that is meant for us.

What a token proves is who somebody is. What that somebody may do is granted here, not there.
"""

import hashlib
import math
import re
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Final

from parade.wire.roles import PERSON_PREFIX
from parade_chassis.clock import Clock
from parade_gateway.challenge import challenged
from parade_gateway.errors import HttpError
from parade_gateway.signing_keys import ALGORITHMS, SigningKeys
from parade_gateway.strangers import Strangers

MAX_TOKEN: Final = 8 * 1024
"""Characters of the longest token."""
SKEW: Final = 30.0
"""Seconds by which the issuer's clock may differ from ours."""
FRESH: Final = 60.0
"""Seconds that a token is believed without another look at its signature, so that a key that its issuer has withdrawn is one."""
MOST: Final = 4096
"""How many are."""
_KINDS: Final = frozenset({"", "jwt", "at+jwt"})
"""What a token may say that it is, in `typ`."""
_SUBJECT: Final = re.compile(r"[!-~]{1,255}")


@dataclass(frozen=True, slots=True)
class _Proof:
    principal: str
    until: float
    """Until when it is believed, by the monotonic clock."""


class Tokens:
    """The tokens that are shown, and whose they are."""

    def __init__(self, issuer: str, audience: str, keys: SigningKeys, strangers: Strangers, clock: Clock) -> None:
        """Takes what a token is held to.

        Args:
            issuer: Who must have made it.
            audience: For whom.
            keys: The issuer's keys.
            strangers: The room for tokens that were not seen before.
            clock: The time.
        """
        self._issuer = issuer
        self._audience = audience
        self._keys = keys
        self._strangers = strangers
        self._clock = clock
        self._good: OrderedDict[bytes, _Proof] = OrderedDict()
        """By the digests of tokens; the tokens themselves are not kept."""

    def known(self, shown: str) -> str | None:
        """Returns whose token this is, where that was proved a moment ago."""
        proof = self._good.get(_digest(shown))
        return proof.principal if proof is not None and self._clock.monotonic() < proof.until else None

    async def principal(self, shown: str) -> str:
        """Returns whose token this is: `oidc:<issuer>#<subject>`.

        Raises:
            HttpError: 401 where it is nobody's.
            ParadeError: NO_CAPACITY where too many unknown tokens were shown; UNAVAILABLE where the issuer's keys cannot be fetched.
        """
        if len(shown) > MAX_TOKEN or not shown.isascii():
            raise invalid_token("is none")
        self._strangers.admit()
        claims = await self._claims(shown)
        end = self._time(claims)
        subject = claims["sub"]
        if not _SUBJECT.fullmatch(subject):
            raise invalid_token("names nobody: its subject must be 1 to 255 visible ASCII characters")
        principal = f"{PERSON_PREFIX}{self._issuer}#{subject}"
        left = end + SKEW - self._clock.now().timestamp()
        self._remember(shown, _Proof(principal, self._clock.monotonic() + min(FRESH, left)))
        return principal

    async def _claims(self, shown: str) -> dict[str, Any]:
        """Returns what a token says, once its signature, issuer and audience have been seen to be right."""
        # Here, because it brings `cryptography`, 13 MB that a gateway without people does not need.
        import jwt

        try:
            header = jwt.get_unverified_header(shown)
        except (jwt.PyJWTError, ValueError, RecursionError) as error:
            raise invalid_token("is none") from error
        algorithm, name = header.get("alg"), header.get("kid", "")
        if not isinstance(algorithm, str) or algorithm not in ALGORITHMS or "crit" in header or "b64" in header:
            raise invalid_token("is not signed in a way that is believed here")
        if str(header.get("typ") or "").lower().removeprefix("application/") not in _KINDS:
            raise invalid_token("is of another kind, and lets nobody in")
        key = await self._keys.find(name) if isinstance(name, str) else None
        # The algorithm is the key's, not what the token claims.
        if key is None or key.algorithm_name != algorithm:
            raise invalid_token("is not signed with a key of the issuer that people log in at here")
        try:
            return jwt.decode(
                shown,
                key,
                algorithms=[key.algorithm_name],
                issuer=self._issuer,
                audience=self._audience,
                # The times are looked at below, by our own clock.
                options={"require": ["exp", "iat", "sub"], "verify_exp": False, "verify_nbf": False, "verify_iat": False},
            )
        except jwt.InvalidAudienceError as error:
            raise invalid_token("is meant for another audience") from error
        except jwt.InvalidIssuerError as error:
            raise invalid_token("is of another issuer") from error
        except jwt.MissingRequiredClaimError as error:
            raise invalid_token(f"lacks the claim {error.claim}") from error
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
            raise invalid_token("is not signed with a key of the issuer that people log in at here") from error

    def _time(self, claims: dict[str, Any]) -> float:
        """Holds a token to its time, and returns when it ends."""
        now = self._clock.now().timestamp()
        begins = max(_moment(claims["iat"]), _moment(claims.get("nbf", 0)))
        ends = _moment(claims["exp"])
        if now >= ends + SKEW:
            raise invalid_token("has expired; log in again")
        if now < begins - SKEW:
            raise invalid_token("is not valid yet")
        return ends

    def _remember(self, shown: str, proof: _Proof) -> None:
        digest = _digest(shown)
        self._good[digest] = proof
        self._good.move_to_end(digest)
        if len(self._good) > MOST:
            self._good.popitem(last=False)


def invalid_token(what: str) -> HttpError:
    """Makes the error for a token that lets nobody in."""
    return challenged(f"the token {what}", "invalid_token")


def _digest(shown: str) -> bytes:
    return hashlib.sha256(shown.encode("utf-8", "surrogateescape")).digest()


def _moment(claim: Any) -> float:
    if isinstance(claim, bool) or not isinstance(claim, int | float) or not math.isfinite(claim) or not 0 <= claim < 2**53:
        raise invalid_token("says no time that is one")
    return float(claim)
