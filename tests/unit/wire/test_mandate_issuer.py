"""Mandates are made once for calls that are alike, and last as long as the calls that they come with."""

import base64
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from parade.wire.certificates import Certificates, MemorySource
from parade.wire.errors import ParadeError, Reason
from parade.wire.identity import Identity
from parade.wire.mandate import MAX_BYTES, WHOLE, Mandate, Scope, read
from parade.wire.mandate_issuer import LONGEST, LOOK, MINUTE, MOST, SHORTEST, Issuer
from tests.support.bad_certificates import Draft, PrivateKey, Signer
from tests.support.certificates import Authority

DISPATCHER = Identity.service("dispatcher")
START = datetime(2026, 11, 1, 12, tzinfo=UTC).timestamp()


class World:
    def __init__(self, folder: Path) -> None:
        self.authority = Authority(folder)
        self.source = self.authority.source(DISPATCHER)
        self.now = START
        self.issuer = Issuer(self.source, lambda: self.now)

    def mandate(self, *, subject: str = "s", run: str = "", agent: str = "shop", scope: Scope = WHOLE, left: float = 60) -> bytes:
        return self.issuer.mandate(subject, "default", run, agent, scope, left)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def said(token: bytes) -> Mandate:
    payload = token.split(b".")[1]
    return read(base64.urlsafe_b64decode(payload + b"=="), DISPATCHER.domain)


def test_a_mandate_says_for_whom_and_for_which_agent_it_is(world: World) -> None:
    scope = Scope(("bank.*",), ("spiffe://x",), "t-1")

    mandate = said(world.mandate(subject="key:1", run="run-1", scope=scope))

    assert mandate == Mandate(
        DISPATCHER.uri,
        "key:1",
        "default",
        f"spiffe://{DISPATCHER.domain}/ns/default/agent/shop",
        "run-1",
        scope,
        int(START),
        mandate.expires,
    )


def test_calls_that_are_alike_have_the_same_mandate_for_a_minute(world: World) -> None:
    first = world.mandate()
    world.now += MINUTE - 1

    assert world.mandate(left=SHORTEST) is first
    world.now += 1
    assert world.mandate() != first


@pytest.mark.parametrize("other", [{"subject": "o"}, {"run": "r"}, {"agent": "o"}, {"scope": Scope(("a.b",))}, {"left": 3600}])
def test_calls_that_differ_have_mandates_that_differ(world: World, other: dict[str, object]) -> None:
    assert said(world.mandate(**other)) != said(world.mandate())  # type: ignore[arg-type]


@pytest.mark.parametrize("left", [-1.0, 0.0, 60.0, SHORTEST, 3600.0, LONGEST - MINUTE])
def test_a_mandate_lasts_as_long_as_its_call_and_five_minutes_at_least(world: World, left: float) -> None:
    world.now += 17.3

    lasts = said(world.mandate(left=left)).expires - world.now

    assert max(left, SHORTEST) < lasts <= max(left, SHORTEST) + MINUTE


@pytest.mark.parametrize("left", [LONGEST, 10 * LONGEST, float("inf")])
def test_a_mandate_lasts_a_day_at_most(world: World, left: float) -> None:
    assert LONGEST - MINUTE < said(world.mandate(left=left)).expires - world.now <= LONGEST


def test_a_run_and_what_comes_of_a_call_have_one_transaction(world: World) -> None:
    alone, other = said(world.mandate()), said(world.mandate(subject="o"))

    assert alone.scope.transaction != other.scope.transaction != ""
    assert said(world.mandate(run="run-1")).scope.transaction == "run-1"
    assert said(world.mandate(run="run-1", scope=Scope(transaction="t-1"))).scope.transaction == "t-1"


def test_a_renewed_certificate_signs_what_is_made_from_then_on(world: World) -> None:
    first = world.mandate()
    renewed = world.authority.certificates(DISPATCHER)
    world.source.replace(renewed)

    assert world.mandate() is first
    world.now += LOOK
    second = world.mandate()

    assert second.split(b".")[0] != first.split(b".")[0]


@pytest.mark.parametrize("key", [ec.generate_private_key(ec.SECP384R1()), ed25519.Ed25519PrivateKey.generate()], ids=["P-384", "Ed25519"])
def test_a_key_that_cannot_sign_mandates_is_said_to_be_so(world: World, key: PrivateKey) -> None:
    made: Certificates = Draft((DISPATCHER.uri,), key=key).certificates(Signer.of(world.authority), world.authority.trust_bundle)

    with pytest.raises(ParadeError, match="P-256") as caught:
        Issuer(MemorySource(made)).mandate("s", "default", "", "shop", WHOLE, 60)

    assert caught.value.reason is Reason.FAILED_PRECONDITION


def test_a_mandate_that_nobody_would_read_is_not_made(world: World) -> None:
    scope = Scope(tuple(f"{'a' * 40}.{'f' * 60}{number}" for number in range(100)))

    with pytest.raises(ParadeError, match=f"{MAX_BYTES:,}") as caught:
        world.mandate(scope=scope)

    assert caught.value.reason is Reason.INVALID_ARGUMENTS


def test_as_many_are_remembered_as_there_is_room_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("parade.wire.mandate_issuer.MOST", 3)
    assert MOST > 3

    made = [world.mandate(subject=str(number)) for number in range(4)]

    assert world.mandate(subject="3") is made[3]
    assert world.mandate(subject="0") is not made[0]
    assert len(world.issuer._made) == 3
