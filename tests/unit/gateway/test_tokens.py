"""Tokens of an issuer: believed when everything about them is right, and by nothing less."""

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from parade.wire.errors import ParadeError, Reason
from parade.wire.log import Log
from parade.wire.telemetry import Telemetry
from parade_chassis.clock import ManualClock
from parade_gateway import tokens
from parade_gateway.errors import HttpError
from parade_gateway.signing_keys import FRESH as KEYS_FRESH
from parade_gateway.signing_keys import SigningKeys
from parade_gateway.strangers import BURST, Strangers
from parade_gateway.tokens import FRESH, MAX_TOKEN, MOST, SKEW, Tokens
from tests.support.lying_issuer import described, signed, unsigned

URL, AUDIENCE = "https://id.example/realm", "urn:parade"
CURVE, OTHER = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
RSA, EDWARDS = rsa.generate_private_key(65537, 2048), ed25519.Ed25519PrivateKey.generate()
SHOWN = [described(CURVE, "curve"), described(RSA, "rsa"), described(EDWARDS, "edwards"), described(RSA, "pss", alg="PS256")]
START = ManualClock().now().timestamp()
CLAIMS = {"iss": URL, "aud": AUDIENCE, "sub": "ann", "iat": START, "exp": START + 300}
PEM = CURVE.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def token(key: Any = CURVE, algorithm: str = "ES256", header: dict[str, Any] | None = None, **claims: Any) -> str:
    made = {name: value for name, value in {**CLAIMS, **claims}.items() if value is not None}
    return signed(made, key, algorithm, **{"kid": "curve", **(header or {})})


def hmac_signed(key: bytes) -> str:
    """Returns a token that is signed with a text as if it were a secret, which the library refuses to make of a public key."""
    head = base64.urlsafe_b64encode(json.dumps({"alg": "HS256", "kid": "curve", "typ": "JWT"}).encode()).rstrip(b"=")
    body = base64.urlsafe_b64encode(json.dumps(CLAIMS).encode()).rstrip(b"=")
    mark = base64.urlsafe_b64encode(hmac.digest(key, head + b"." + body, hashlib.sha256)).rstrip(b"=")
    return b".".join((head, body, mark)).decode()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def shown() -> list[dict[str, Any]]:
    return [*SHOWN]


@pytest.fixture
async def known(clock: ManualClock, shown: list[dict[str, Any]]) -> AsyncIterator[Tokens]:
    def fetch(url: str) -> dict[str, Any]:
        return {"keys": shown} if url.endswith("/keys") else {"issuer": URL, "jwks_uri": f"{URL}/keys"}

    with Telemetry("gateway", "test") as telemetry:
        async with asyncio.TaskGroup() as tasks:
            keys = SigningKeys(URL, tasks, clock, Log(telemetry), fetch)
            yield Tokens(URL, AUDIENCE, keys, Strangers(clock), clock)


async def refusal(known: Tokens, text: str) -> HttpError:
    with pytest.raises(HttpError) as caught:
        await known.principal(text)
    assert known.known(text) is None
    assert caught.value.status == 401
    assert caught.value.headers == {"www-authenticate": 'Bearer realm="parade", error="invalid_token"'}
    return caught.value


@pytest.mark.parametrize(
    "text",
    [
        token(),
        token(header={"typ": "at+jwt"}),
        token(header={"typ": "application/AT+JWT"}),
        token(header={"typ": None}),
        token(RSA, "RS256", {"kid": "rsa"}),
        token(RSA, "PS256", {"kid": "pss"}),
        token(EDWARDS, "EdDSA", {"kid": "edwards"}),
        token(aud=["urn:other", AUDIENCE]),
        token(nbf=START - 1),
        token(iat=START + SKEW, exp=START + SKEW + 1),
        token(exp=START - SKEW + 1, iat=START - 300),
    ],
    ids=range(11),
)
async def test_a_token_that_is_right_is_its_subjects(known: Tokens, text: str) -> None:
    assert await known.principal(text) == "oidc:https://id.example/realm#ann"
    assert known.known(text) == "oidc:https://id.example/realm#ann"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (token(iss="https://id.example"), "another issuer"),
        (token(iss=f"{URL}/"), "another issuer"),
        (token(iss=[URL]), "another issuer"),
        (token(aud="urn:other"), "another audience"),
        (token(aud=["urn:other"]), "another audience"),
        (token(aud=[]), "lacks the claim aud"),
        (token(aud={AUDIENCE: 1}), "another audience"),
        (token(aud=None), "lacks the claim aud"),
        (token(iss=None), "lacks the claim iss"),
        (token(sub=None), "lacks the claim sub"),
        (token(exp=None), "lacks the claim exp"),
        (token(iat=None), "lacks the claim iat"),
        (token(exp=START - SKEW), "has expired"),
        (token(nbf=START + SKEW + 1), "is not valid yet"),
        (token(iat=START + SKEW + 1), "is not valid yet"),
        (token(exp="never"), "no time"),
        (token(exp=True), "no time"),
        (token(exp=float("inf")), "no time"),
        (token(exp=float("nan")), "no time"),
        (token(exp=2**200), "no time"),
        (token(iat=-1), "no time"),
        (token(sub=1), "is not signed"),
        (token(sub=""), "names nobody"),
        (token(sub="a b"), "names nobody"),
        (token(sub="é"), "names nobody"),
        (token(sub="a\n"), "names nobody"),
        (token(sub="a" * 256), "names nobody"),
        (token(OTHER), "is not signed"),
        (token(header={"kid": "unknown"}), "is not signed"),
        (token(header={"kid": "rsa"}), "is not signed"),
        (token(header={"kid": ""}), "is not signed"),
        (token(RSA, "RS512", {"kid": "rsa"}), "is not signed"),
        (token(RSA, "PS256", {"kid": "rsa"}), "is not signed"),
        (token(RSA, "RS256", {"kid": "curve"}), "is not signed"),
        (unsigned(CLAIMS, kid="curve"), "not signed in a way"),
        (unsigned(CLAIMS, kid="curve", alg="None"), "not signed in a way"),
        (unsigned(CLAIMS, kid="curve", alg="ES256"), "is not signed"),
        (unsigned(CLAIMS, kid="curve", alg=["ES256"]), "not signed in a way"),
        (hmac_signed(PEM), "not signed in a way"),
        (hmac_signed(b"c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"), "not signed in a way"),
        (token(header={"typ": "logout+jwt"}), "another kind"),
        (token(header={"typ": "txntoken+jwt"}), "another kind"),
        (token(header={"jku": "https://evil.example/keys", "kid": "evil"}), "is not signed"),
        (token(OTHER, header={"jwk": described(OTHER, "curve")}), "is not signed"),
    ],
    ids=range(44),
)
async def test_one_that_is_not_is_nobodys_and_says_why(known: Tokens, text: str, why: str) -> None:
    assert why in (await refusal(known, text)).message


@pytest.mark.parametrize("header", [{"crit": ["exp"]}, {"crit": []}, {"b64": False, "crit": ["b64"]}])
async def test_what_a_token_demands_to_be_understood_is_not(known: Tokens, header: dict[str, Any]) -> None:
    await refusal(known, unsigned(CLAIMS, kid="curve", alg="ES256", **header))


@pytest.mark.parametrize(
    "text",
    [
        ".",
        "..",
        "...",
        "a.b.c",
        "e30.e30.",
        ".".join([base64.urlsafe_b64encode(b"[" * 5000).decode(), "e30", "e30"]),
        ".".join([base64.urlsafe_b64encode(b"[]").decode().rstrip("="), "e30", "e30"]),
        "x." * (MAX_TOKEN // 2 + 1),
        "é.b.c",
        "\udcff.b.c",
    ],
    ids=range(10),
)
async def test_what_is_no_token_is_nobodys(known: Tokens, text: str) -> None:
    await refusal(known, text)


async def test_a_token_ends_with_its_time_though_it_was_believed(known: Tokens, clock: ManualClock) -> None:
    text = token(exp=START + 10)
    await known.principal(text)

    await clock.advance(10 + SKEW - 0.1)
    still = known.known(text)
    await clock.advance(0.1)

    assert still is not None
    assert "has expired" in (await refusal(known, text)).message


async def test_a_token_whose_key_is_withdrawn_is_nobodys_after_a_while(
    known: Tokens, clock: ManualClock, shown: list[dict[str, Any]]
) -> None:
    text = token(exp=START + 86_400)
    await known.principal(text)
    shown[:] = SHOWN[1:]
    await clock.advance(FRESH)
    again = await known.principal(text)

    await clock.advance(2 * KEYS_FRESH)

    assert again.endswith("#ann")
    await refusal(known, text)


async def test_unknown_tokens_are_looked_into_only_so_often(known: Tokens) -> None:
    reasons = []
    text = token()
    await known.principal(text)
    for number in range(int(BURST) + 100):
        try:
            await known.principal(f"a.{number}.c")
        except ParadeError as error:
            reasons.append(error.reason)

    assert reasons.count(Reason.NO_CAPACITY) >= 100
    assert known.known(text) is not None


async def test_only_so_many_are_remembered(known: Tokens, monkeypatch: pytest.MonkeyPatch) -> None:
    assert MOST > 2
    monkeypatch.setattr(tokens, "MOST", 2)
    made = [token(sub=f"person-{number}") for number in range(3)]

    for text in made:
        await known.principal(text)

    assert [known.known(text) is not None for text in made] == [False, True, True]


GOOD = token()
PARTS = [base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)) for part in GOOD.split(".")]


@settings(max_examples=200)
@given(part=st.integers(0, 2), place=st.integers(0, 2000), change=st.integers(1, 255))
async def test_no_byte_of_a_token_can_change(part: int, place: int, change: int) -> None:
    changed = [bytearray(one) for one in PARTS]
    changed[part][place % len(changed[part])] ^= change
    text = ".".join(base64.urlsafe_b64encode(one).rstrip(b"=").decode() for one in changed)
    await refusal(lasting(), text)


@given(text=st.text(max_size=200) | st.from_regex(r"[\w-]{0,100}\.[\w-]{0,100}\.[\w-]{0,100}", fullmatch=True))
async def test_any_text_is_nobodys(text: str) -> None:
    await refusal(lasting(), text)


_json = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20), lambda one: st.lists(one, max_size=3))


@given(header=st.dictionaries(st.sampled_from(["alg", "kid", "typ", "crit", "b64", "jwk", "x5c"]), _json))
async def test_any_header_is_nobodys_without_a_signature(header: dict[str, Any]) -> None:
    await refusal(lasting(), unsigned(CLAIMS, **{"alg": "ES256", "kid": "curve", **header}))


@given(claims=st.dictionaries(st.sampled_from(["iss", "aud", "sub", "exp", "iat", "nbf", "jti"]), _json, min_size=1))
async def test_signed_claims_of_any_kind_break_nothing(claims: dict[str, Any]) -> None:
    text = signed({**CLAIMS, **claims}, CURVE, "ES256", kid="curve")
    try:
        principal = await lasting().principal(text)
    except HttpError:
        return
    assert principal == f"oidc:{URL}#{claims.get('sub', 'ann')}"
    assert claims.get("iss", URL) == URL


class OneKey:
    """The keys of an issuer that has one, without any fetching: a hypothesis is tried thousands of times."""

    KEY = jwt.PyJWK(SHOWN[0])

    async def find(self, name: str) -> jwt.PyJWK | None:
        return self.KEY if name == "curve" else None


def lasting() -> Tokens:
    """Returns tokens that are looked into for one example."""
    clock, keys = ManualClock(), OneKey()
    return Tokens(URL, AUDIENCE, keys, Strangers(clock), clock)  # type: ignore[arg-type]
