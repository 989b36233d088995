"""How a person logs in, told by issuers that answer as they like."""

import json
import threading
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from parade.cli import login_issuer
from parade.cli.login_callback import Callback
from parade.cli.login_file import Login
from parade.cli.login_issuer import Issuer, expiry
from parade.wire.errors import ParadeError, Reason
from tests.support.lying_issuer import LyingIssuer, lying, unsigned

GATEWAY = "https://mesh.example"
TOKEN = unsigned({"exp": 2_000_000_000})


@pytest.fixture
def liar() -> Iterator[LyingIssuer]:
    with lying() as running:
        yield running


def told(liar: LyingIssuer, **more: str) -> dict[str, str]:
    return {"issuer": liar.url, "client_id": "cli", "audience": "urn:parade", "scopes": "openid offline_access", **more}


def issuer(liar: LyingIssuer, told_of_it: dict[str, str] | None = None, **said: Any) -> Issuer:
    """Has the issuer describe itself, and asks it."""
    names = ("authorization_endpoint", "token_endpoint", "device_authorization_endpoint", "revocation_endpoint")
    described = {name: f"{liar.url}/{name}" for name in names}
    liar.shows(**{**described, **said})
    return Issuer.of(told_of_it or told(liar))


class Browser:
    """Comes back from the issuer with an answer, at once."""

    def __init__(self, **answer: str) -> None:
        self.answer = answer
        self.asked: dict[str, str] = {}

    def __call__(self, page: str) -> None:
        self.asked = {name: values[0] for name, values in parse_qs(urlsplit(page).query).items()}
        answer = {"state": self.asked["state"], **self.answer}
        threading.Thread(target=httpx.get, args=(self.asked["redirect_uri"],), kwargs={"params": answer, "trust_env": False}).start()


def grants(liar: LyingIssuer, **granted: Any) -> None:
    liar.bodies["/token_endpoint"] = json.dumps({"access_token": TOKEN, "refresh_token": "next", **granted}).encode()


def failure(liar: LyingIssuer, browser: Browser, **said: Any) -> ParadeError:
    with pytest.raises(ParadeError) as caught:
        issuer(liar, **said).by_browser(GATEWAY, browser)
    return caught.value


def test_a_browser_comes_back_with_a_code(liar: LyingIssuer) -> None:
    known, browser = issuer(liar), Browser(code="one")
    grants(liar)

    made = known.by_browser(GATEWAY, browser)

    assert made == Login(GATEWAY, liar.url, "cli", "urn:parade", "openid offline_access", TOKEN, "next")
    assert {
        name: browser.asked[name] for name in ("response_type", "client_id", "scope", "audience", "prompt", "code_challenge_method")
    } == {
        "response_type": "code",
        "client_id": "cli",
        "scope": "openid offline_access",
        "audience": "urn:parade",
        "prompt": "consent",
        "code_challenge_method": "S256",
    }
    assert len(browser.asked["code_challenge"]) == 43
    assert TOKEN not in repr(made)


def test_an_id_token_is_shown_where_it_is_what_the_gateway_takes(liar: LyingIssuer) -> None:
    known, browser = issuer(liar, told(liar, audience="cli")), Browser(code="one")
    grants(liar, id_token=unsigned({"exp": 2_000_000_001}), access_token="opaque")

    assert expiry(known.by_browser(GATEWAY, browser).token) == 2_000_000_001
    assert "audience" not in browser.asked


@pytest.mark.parametrize("said", ["https://id.example", "", None])
def test_an_issuer_that_is_another_is_not_asked(liar: LyingIssuer, said: Any) -> None:
    with pytest.raises(ParadeError, match="does not say of itself"):
        issuer(liar, issuer=said)


@pytest.mark.parametrize("where", ["http://id.example/token", "", 1, None])
def test_a_code_is_sent_nowhere_that_others_could_read(liar: LyingIssuer, where: Any) -> None:
    assert "token_endpoint" in failure(liar, Browser(code="one"), token_endpoint=where).message


def test_an_answer_of_another_issuer_is_refused(liar: LyingIssuer) -> None:
    other = failure(liar, Browser(code="one", iss="https://id.example"))
    unnamed = failure(liar, Browser(code="one"), authorization_response_iss_parameter_supported=True)

    assert "another issuer" in other.message
    assert "another issuer" in unnamed.message
    assert "/token_endpoint" not in liar.asked


def test_a_refusal_is_told_without_what_a_terminal_would_obey(liar: LyingIssuer) -> None:
    error = failure(liar, Browser(error="access_denied", error_description="no\x1b[2J way"))

    assert error.reason is Reason.UNAUTHENTICATED
    assert "no [2J way" in error.message


def test_a_token_that_the_gateway_cannot_check_is_refused(liar: LyingIssuer) -> None:
    known = issuer(liar)
    grants(liar, access_token="opaque")

    with pytest.raises(ParadeError, match="is no JWT"):
        known.by_browser(GATEWAY, Browser(code="one"))


def test_who_does_not_come_back_is_waited_for_only_so_long(liar: LyingIssuer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(login_issuer, "PATIENCE", 0.1)

    with pytest.raises(ParadeError, match="nobody has logged in"):
        issuer(liar).by_browser(GATEWAY, lambda page: None)


def test_only_the_answer_with_the_state_counts() -> None:
    with Callback("right") as callback:
        foreign = [
            httpx.get(callback.url, params={"state": "wrong", "code": "evil"}, trust_env=False).status_code,
            httpx.get(callback.url, params={"code": "evil"}, trust_env=False).status_code,
            httpx.get(callback.url.replace("/callback", "/"), params={"state": "right"}, trust_env=False).status_code,
            httpx.post(callback.url, params={"state": "right"}, trust_env=False).status_code,
        ]
        nothing = callback.answer(0.05)
        own = httpx.get(callback.url, params={"state": "right", "code": "<script>"}, trust_env=False)

        assert foreign == [404, 404, 404, 501]
        assert nothing is None
        assert callback.answer(5) == {"state": "right", "code": "<script>"}
        assert "<script>" not in own.text


def begun(liar: LyingIssuer, **more: Any) -> None:
    said = {"device_code": "device", "user_code": "ABCD", "verification_uri": f"{liar.url}/device", "interval": 1, "expires_in": 60}
    liar.bodies["/device_authorization_endpoint"] = json.dumps({**said, **more}).encode()


def test_a_code_is_entered_elsewhere(liar: LyingIssuer) -> None:
    known = issuer(liar)
    begun(liar)
    grants(liar)
    shown: list[tuple[str, str]] = []
    waits: list[float] = []

    made = known.by_code(GATEWAY, lambda page, code: shown.append((page, code)), waits.append)

    assert made.token == TOKEN
    assert shown == [(f"{liar.url}/device", "ABCD")]
    assert waits == [1.0]


def test_the_issuer_says_how_often_it_is_asked(liar: LyingIssuer) -> None:
    known = issuer(liar)
    begun(liar, interval=3)
    answers = [b'{"error": "authorization_pending"}', b'{"error": "slow_down"}', b'{"error": "expired_token"}']
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        liar.status, liar.bodies["/token_endpoint"] = 400, answers[len(waits) - 1]

    with pytest.raises(ParadeError, match="the issuer has refused: expired_token"):
        known.by_code(GATEWAY, lambda page, code: None, sleep)

    assert waits == [3.0, 3.0, 8.0]


def test_a_code_that_nobody_enters_ends(liar: LyingIssuer, monkeypatch: pytest.MonkeyPatch) -> None:
    known = issuer(liar)
    begun(liar, expires_in=0.2)
    liar.bodies["/token_endpoint"] = b'{"error": "authorization_pending"}'

    def sleep(seconds: float) -> None:
        liar.status = 400
        time.sleep(0.05)

    with pytest.raises(ParadeError, match="nobody has entered the code"):
        known.by_code(GATEWAY, lambda page, code: None, sleep)


def test_an_issuer_without_codes_is_not_asked_for_one(liar: LyingIssuer) -> None:
    liar.shows(token_endpoint=f"{liar.url}/token")

    with pytest.raises(ParadeError, match="log in without --device"):
        Issuer.of(told(liar)).by_code(GATEWAY, lambda page, code: None)


def test_a_renewal_keeps_the_refresh_token_where_no_other_is_given(liar: LyingIssuer) -> None:
    known = issuer(liar)
    login = Login(GATEWAY, liar.url, "cli", "urn:parade", "openid", TOKEN, "first")
    grants(liar, refresh_token="second")
    rotated = known.renewed(login)
    liar.bodies["/token_endpoint"] = json.dumps({"access_token": TOKEN}).encode()

    assert rotated.refresh_token == "second"
    assert known.renewed(login).refresh_token == "first"


@pytest.mark.parametrize("token", ["", "a", "a.b", "a.!!.c", "a.e30.c", "a.W10.c", "a.eyJleHAiOiAibmV2ZXIifQ.c", "a.eyJleHAiOiBudWxsfQ.c"])
def test_a_token_without_an_end_is_none(token: str) -> None:
    with pytest.raises(ParadeError) as caught:
        expiry(token)

    assert caught.value.reason is Reason.FAILED_PRECONDITION
