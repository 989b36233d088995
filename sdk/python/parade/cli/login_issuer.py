"""How a person logs in at an OpenID Connect issuer from a terminal: by a browser here, or by one elsewhere. It keeps nothing.

Sources: https://www.rfc-editor.org/rfc/rfc8252 (programs on people's machines), RFC 7636 (PKCE), RFC 8628 (the device flow), RFC 9207 (who
has answered), RFC 7009 (how tokens are given back).
"""

import base64
import hashlib
import json
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import urlencode

from parade.cli.login_callback import Callback
from parade.cli.login_file import Login
from parade.wire import web
from parade.wire.errors import ParadeError, Reason

PATIENCE: Final = 300.0
"""Seconds that a person may take."""
INTERVAL: Final = 5.0
"""Seconds between two questions whether the person has done it, where the issuer says nothing else."""
LATE: Final = 60.0
"""Seconds before its end at which a token is renewed."""
_DEVICE: Final = "urn:ietf:params:oauth:grant-type:device_code"


@dataclass(frozen=True, slots=True)
class Issuer:
    """An issuer, as it describes itself, and as whom one comes to it."""

    url: str
    client_id: str
    audience: str
    scopes: str
    described: Mapping[str, Any]

    @classmethod
    def of(cls, told: Mapping[str, str]) -> "Issuer":
        """Asks an issuer how it is talked to.

        Args:
            told: What the gateway says of it, in `/login.json`, or an earlier login.

        Raises:
            ParadeError: UNAVAILABLE; FAILED_PRECONDITION where it is not who it should be.
        """
        url = told["issuer"]
        answer = web.get(url.rstrip("/") + "/.well-known/openid-configuration")
        if answer.status != 200 or answer.document.get("issuer") != url:
            raise ParadeError(Reason.FAILED_PRECONDITION, f"{url} does not say of itself that it is the issuer {url}")
        return cls(url, told["client_id"], told["audience"], told["scopes"], answer.document)

    def by_browser(self, gateway: str, open_page: Callable[[str], None]) -> Login:
        """Logs in by a browser on this machine.

        Args:
            gateway: The URL of the gateway that the login is for.
            open_page: Shows a URL to the person.

        Raises:
            ParadeError: UNAUTHENTICATED where the person does not come back, or without a token; UNAVAILABLE.
        """
        verifier, state = secrets.token_urlsafe(48), secrets.token_urlsafe(24)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        with Callback(state) as callback:
            asked = {
                **self._asked(),
                "response_type": "code",
                "redirect_uri": callback.url,
                "state": state,
                "code_challenge": challenge,
                "code_challenge_method": "S256",
            }
            if "offline_access" in self.scopes.split():
                asked["prompt"] = "consent"  # which OpenID Connect demands of who asks for it
            page = self._endpoint("authorization_endpoint")
            open_page(f"{page}{'&' if '?' in page else '?'}{urlencode(asked)}")
            answer = callback.answer(PATIENCE)
            if answer is None:
                raise ParadeError(Reason.UNAUTHENTICATED, "nobody has logged in within five minutes; try again")
            known = self.described.get("authorization_response_iss_parameter_supported") is True
            if answer.get("iss", "" if known else self.url) != self.url:
                raise ParadeError(Reason.UNAUTHENTICATED, "another issuer has answered than was asked")
            if not answer.get("code"):
                raise _refused(answer)
            grant = {"grant_type": "authorization_code", "code": answer["code"], "redirect_uri": callback.url, "code_verifier": verifier}
            return self._login(gateway, self._granted(grant))

    def by_code(self, gateway: str, show: Callable[[str, str], None], sleep: Callable[[float], None] = time.sleep) -> Login:
        """Logs in by a browser on any machine, where the person enters a code.

        Args:
            gateway: The URL of the gateway that the login is for.
            show: Shows a URL to the person, and the code.
            sleep: Waits between two questions whether the person has done it.

        Raises:
            ParadeError: As `by_browser`.
        """
        if "device_authorization_endpoint" not in self.described:
            raise ParadeError(Reason.FAILED_PRECONDITION, f"{self.url} knows no login by a code; log in without --device")
        answer = web.post(self._endpoint("device_authorization_endpoint"), self._asked())
        if answer.status != 200:
            raise _refused(answer.document)
        begun = answer.document
        show(_text(begun, "verification_uri_complete") or _text(begun, "verification_uri"), _text(begun, "user_code"))
        interval, ends = _seconds(begun, "interval", INTERVAL), time.monotonic() + min(PATIENCE, _seconds(begun, "expires_in", PATIENCE))
        while time.monotonic() < ends:
            sleep(interval)
            answer = self._ask({"grant_type": _DEVICE, "device_code": _text(begun, "device_code")})
            match answer.status, answer.document.get("error"):
                case 200, _:
                    return self._login(gateway, answer.document)
                case _, "authorization_pending":
                    continue
                case _, "slow_down":
                    interval += INTERVAL
                case _:
                    raise _refused(answer.document)
        raise ParadeError(Reason.UNAUTHENTICATED, "nobody has entered the code in time; try again")

    def renewed(self, login: Login) -> Login:
        """Returns a login with another token.

        Raises:
            ParadeError: UNAUTHENTICATED where the issuer gives none any more; UNAVAILABLE.
        """
        granted = self._granted({"grant_type": "refresh_token", "refresh_token": login.refresh_token})
        fresh = self._login(login.gateway, granted)
        return fresh if fresh.refresh_token else replace(fresh, refresh_token=login.refresh_token)

    def give_back(self, login: Login) -> None:
        """Has the issuer forget a login, where it can.

        Raises:
            ParadeError: UNAVAILABLE.
        """
        if "revocation_endpoint" in self.described and login.refresh_token:
            fields = {"client_id": self.client_id, "token": login.refresh_token, "token_type_hint": "refresh_token"}
            web.post(self._endpoint("revocation_endpoint"), fields)

    def _asked(self) -> dict[str, str]:
        asked = {"client_id": self.client_id, "scope": self.scopes}
        # Some make tokens for an audience only where it is named so; the others pass over what they do not know.
        return asked if self._by_id_token else {**asked, "audience": self.audience}

    def _granted(self, grant: dict[str, str]) -> Mapping[str, Any]:
        answer = self._ask(grant)
        if answer.status != 200:
            raise _refused(answer.document)
        return answer.document

    def _ask(self, grant: dict[str, str]) -> web.Answer:
        return web.post(self._endpoint("token_endpoint"), {**grant, "client_id": self.client_id})

    def _login(self, gateway: str, granted: Mapping[str, Any]) -> Login:
        token = _text(granted, "id_token" if self._by_id_token else "access_token")
        if not token:
            raise ParadeError(Reason.UNAUTHENTICATED, f"{self.url} has given no token; log in again: `parade login`")
        expiry(token)
        return Login(gateway, self.url, self.client_id, self.audience, self.scopes, token, _text(granted, "refresh_token"))

    @property
    def _by_id_token(self) -> bool:
        """Whether the id token is shown to the gateway: it alone is made for the client itself."""
        return self.audience == self.client_id

    def _endpoint(self, name: str) -> str:
        url = self.described.get(name)
        if not isinstance(url, str) or not web.secure(url):
            raise ParadeError(Reason.FAILED_PRECONDITION, f"{self.url} names no {name} that can be trusted")
        return url


def expiry(token: str) -> float:
    """Returns when a token ends, in UNIX seconds, as it says itself.

    Raises:
        ParadeError: FAILED_PRECONDITION where it says nothing that can be read here.
    """
    try:
        claims = token.split(".")[1]
        return float(json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["exp"])
    except (IndexError, KeyError, TypeError, ValueError, RecursionError) as error:
        message = (
            "the issuer's access token is no JWT, which the gateway cannot check. Have it make JWTs for the gateway's audience, or let the "
            "gateway take id tokens: PARADE_GATEWAY_OIDC_AUDIENCE is then the client id"
        )
        raise ParadeError(Reason.FAILED_PRECONDITION, message) from error


def _refused(answer: Mapping[str, Any]) -> ParadeError:
    said = _text(answer, "error_description") or _text(answer, "error") or "it says no more"
    printable = "".join(character if character.isprintable() else " " for character in said[:500])
    return ParadeError(Reason.UNAUTHENTICATED, f"the issuer has refused: {printable}. Log in again: `parade login`")


def _text(document: Mapping[str, Any], name: str) -> str:
    value = document.get(name)
    return value if isinstance(value, str) else ""


def _seconds(document: Mapping[str, Any], name: str, otherwise: float) -> float:
    value = document.get(name)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 3600 else otherwise
