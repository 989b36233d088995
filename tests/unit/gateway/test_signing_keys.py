"""The keys of an issuer: fetched once for many, again when they change, and kept while it is away."""

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from parade.wire.errors import ParadeError, Reason
from parade.wire.log import Log
from parade.wire.telemetry import Telemetry
from parade_chassis.clock import ManualClock
from parade_gateway import signing_keys
from parade_gateway.signing_keys import COOL_DOWN, FRESH, KEPT, MOST_KEYS, SigningKeys
from tests.support.lying_issuer import described

URL = "https://id.example/realm"
CURVE, EDWARDS = ec.generate_private_key(ec.SECP256R1()), ed25519.Ed25519PrivateKey.generate()
RSA, SMALL = rsa.generate_private_key(65537, 2048), rsa.generate_private_key(65537, 1024)  # noqa: S505  # which is the point


class Documents:
    """What the issuer shows, and how often it was asked for its keys."""

    def __init__(self) -> None:
        self.keys: Any = [described(CURVE, "a")]
        self.issuer: Any = URL
        self.away = False
        self.asked = 0
        self.answering = threading.Event()
        self.answering.set()

    def fetch(self, url: str) -> dict[str, Any]:
        if self.away:
            raise ParadeError(Reason.UNAVAILABLE, "away")
        if url == f"{URL}/.well-known/openid-configuration":
            return {"issuer": self.issuer, "jwks_uri": f"{URL}/keys"}
        assert url == f"{URL}/keys"
        self.asked += 1
        assert self.answering.wait(10)
        return {"keys": self.keys}


@pytest.fixture
def documents() -> Documents:
    return Documents()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def keys(documents: Documents, clock: ManualClock) -> AsyncIterator[SigningKeys]:
    with Telemetry("gateway", "test") as telemetry:
        async with asyncio.TaskGroup() as tasks:
            yield SigningKeys(URL, tasks, clock, Log(telemetry), documents.fetch)


async def names(keys: SigningKeys, *asked: str) -> list[str | None]:
    found = [await keys.find(name) for name in asked]
    return [None if key is None else key.key_id for key in found]


async def unavailable(keys: SigningKeys, name: str = "a") -> bool:
    with pytest.raises(ParadeError) as caught:
        await keys.find(name)
    return caught.value.reason is Reason.UNAVAILABLE


async def test_many_at_once_fetch_once(keys: SigningKeys, documents: Documents) -> None:
    found = await asyncio.gather(*(keys.find("a") for _ in range(50)))

    assert {None if key is None else key.key_id for key in found} == {"a"}
    assert documents.asked == 1


async def test_a_new_key_is_fetched_when_it_is_first_shown(keys: SigningKeys, documents: Documents, clock: ManualClock) -> None:
    await keys.find("a")
    documents.keys = [described(EDWARDS, "b"), described(CURVE, "a")]
    await clock.advance(COOL_DOWN)

    assert await names(keys, "b", "a") == ["b", "a"]
    assert documents.asked == 2


async def test_a_storm_of_unknown_keys_fetches_once_in_a_while(keys: SigningKeys, documents: Documents, clock: ManualClock) -> None:
    for _ in range(3):
        assert await names(keys, *(f"unknown-{number}" for number in range(200))) == [None] * 200
        await clock.advance(COOL_DOWN)

    assert documents.asked == 3


async def test_a_key_that_was_withdrawn_is_one_after_a_while(keys: SigningKeys, documents: Documents, clock: ManualClock) -> None:
    documents.keys = [described(CURVE, "a"), described(EDWARDS, "b")]
    await keys.find("a")
    documents.keys = [described(EDWARDS, "b")]
    documents.answering.clear()
    await clock.advance(FRESH)
    during = await names(keys, "a")  # nobody waits for the fetch that it has begun
    await clock.advance(FRESH)
    documents.answering.set()

    assert during == ["a"]
    assert await names(keys, "a", "b") == [None, "b"]


async def test_keys_live_through_an_outage_of_an_hour(keys: SigningKeys, documents: Documents, clock: ManualClock) -> None:
    await keys.find("a")
    documents.away = True

    await clock.advance(KEPT - 1)
    assert await names(keys, "a") == ["a"]
    await clock.advance(1)

    assert await unavailable(keys)
    documents.away = False
    await clock.advance(COOL_DOWN)
    assert await names(keys, "a") == ["a"]


async def test_who_has_never_been_reached_is_unavailable(keys: SigningKeys, documents: Documents) -> None:
    documents.away = True

    assert await unavailable(keys)
    assert await unavailable(keys)


async def test_who_does_not_answer_is_not_waited_for_by_whom_it_does_not_concern(
    keys: SigningKeys, documents: Documents, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signing_keys, "FETCH_TIMEOUT", 0.1)
    await keys.find("a")
    documents.answering.clear()
    await clock.advance(FRESH)

    assert await names(keys, "a", "unknown", "a") == ["a", None, "a"]
    documents.answering.set()


@pytest.mark.parametrize("issuer", ["https://id.example", f"{URL}/", "", None, 1, [URL]])
async def test_another_issuer_is_not_believed(keys: SigningKeys, documents: Documents, issuer: Any) -> None:
    documents.issuer = issuer

    assert await unavailable(keys)


@pytest.mark.parametrize(
    "shown",
    [
        None,
        {},
        [],
        ["a"],
        [None],
        [{}],
        [{"kty": "oct", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0", "kid": "a"}],
        [{"kty": "oct", "k": "c2VjcmV0", "kid": "a", "alg": "ES256"}],
        [described(SMALL, "a")],
        [described(CURVE, "a", use="enc")],
        [described(CURVE, "a", alg="none")],
        [described(CURVE, "a", alg="HS256")],
        [described(CURVE, "a", alg=["ES256"])],
        [described(CURVE, "a", kid=["a"])],
        [described(CURVE, "a", x="AAAA")],
        [{"kty": "RSA", "n": "!", "e": "AQAB", "kid": "a"}],
    ],
    ids=range(16),
)
async def test_what_cannot_sign_a_token_is_no_key(keys: SigningKeys, documents: Documents, shown: Any) -> None:
    documents.keys = shown

    assert await unavailable(keys)


async def test_others_of_the_set_count(keys: SigningKeys, documents: Documents) -> None:
    documents.keys = [{"kty": "none"}, described(SMALL, "small"), described(RSA, "rsa"), described(EDWARDS, "edwards")]

    assert await names(keys, "small", "rsa", "edwards") == [None, "rsa", "edwards"]


async def test_the_only_key_needs_no_name(keys: SigningKeys, documents: Documents, clock: ManualClock) -> None:
    one = await names(keys, "")
    documents.keys = [described(CURVE, "a"), described(EDWARDS, "b")]
    await clock.advance(COOL_DOWN)
    await keys.find("b")

    assert one == ["a"]
    assert await names(keys, "") == [None]


async def test_a_set_without_end_is_read_to_a_point(keys: SigningKeys, documents: Documents) -> None:
    documents.keys = [described(CURVE, str(number)) for number in range(MOST_KEYS + 1)]

    assert await names(keys, str(MOST_KEYS - 1), str(MOST_KEYS)) == [str(MOST_KEYS - 1), None]
