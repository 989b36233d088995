"""A certificate is believed where every rule lets it, and refused with the rule that does not."""

import time
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from parade.wire.certificates import Certificates, MemorySource
from parade.wire.errors import ParadeError, Reason
from parade.wire.identity import DEFAULT_DOMAIN, Identity
from parade.wire.peer import CERTIFICATE, NOBODY, Peer, Refusal, authorities, believed
from parade.wire.peers import ROOTS_LOOK, Peers
from parade.wire.revocations import Revocation, Revocations
from tests.support.bad_certificates import KINDS, Draft, PrivateKey, Signer, bad
from tests.support.certificates import Authority

ANN = Identity.client("ann")
RULES = {
    "expired": Refusal.EXPIRED,
    "not yet valid": Refusal.NOT_YET_VALID,
    "a stranger's authority": Refusal.AUTHORITY,
    "a stranger's authority of the same name": None,
    "self-signed": Refusal.AUTHORITY,
    "signed by a leaf": Refusal.AUTHORITY,
    "below a subordinate authority": Refusal.AUTHORITY,
    "below an authority that names no key": Refusal.AUTHORITY,
    "for servers only": Refusal.PURPOSE,
    "for signing code": Refusal.PURPOSE,
    "for nothing in particular": Refusal.PURPOSE,
    "an authority's own": Refusal.CA,
    "without an id": Refusal.IDENTITY,
    "two ids": Refusal.IDENTITY,
    "malformed id": Refusal.IDENTITY,
    "another domain's": Refusal.DOMAIN,
    "weak key": Refusal.KEY,
}
"""The rule that speaks against each kind of bad certificate; none where only its signature does, which TLS checks."""


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def read(made: Certificates, authority: Authority, now: float | None = None) -> Peer:
    leaf = made.certificate_chain.partition(b"-----END CERTIFICATE-----\n")
    return believed(leaf[0] + leaf[1], DEFAULT_DOMAIN, authorities(authority.trust_bundle), time.time() if now is None else now)


def refusal(error: pytest.ExceptionInfo[ParadeError]) -> str:
    assert error.value.reason is Reason.UNAUTHENTICATED
    return error.value.metadata[CERTIFICATE]


@pytest.mark.parametrize(
    "identity", [ANN, Identity.agent("analyst", "i-1", "sales"), Identity.service("gateway")], ids=lambda identity: identity.kind
)
def test_a_good_certificate_says_who_holds_it(authority: Authority, identity: Identity) -> None:
    peer = read(authority.certificates(identity, lifetime=timedelta(hours=2)), authority)

    assert (peer.identity, peer.spiffe_id) == (identity, identity.uri)
    assert 7190 < peer.not_after - time.time() <= 7200
    assert len(peer.fingerprint) == 32
    assert int(peer.serial, 16) > 0


@pytest.mark.parametrize(
    "key", [ec.generate_private_key(ec.SECP384R1()), ed25519.Ed25519PrivateKey.generate(), rsa.generate_private_key(65537, 2048)]
)
def test_a_strong_key_is_taken(authority: Authority, key: PrivateKey) -> None:
    draft = Draft((ANN.uri,), key=key)

    assert read(draft.certificates(Signer.of(authority), authority.trust_bundle), authority).identity == ANN


def test_every_kind_of_bad_certificate_has_its_rule() -> None:
    assert set(RULES) == set(KINDS)


@pytest.mark.parametrize(("kind", "rule"), [(kind, rule) for kind, rule in RULES.items() if rule is not None])
def test_a_bad_certificate_is_refused_by_its_rule(authority: Authority, kind: str, rule: Refusal) -> None:
    made = bad(kind, authority, ANN)

    with pytest.raises(ParadeError) as refused:
        read(made, authority)

    assert refusal(refused) == rule


@pytest.mark.parametrize("text", [b"", b"garbage", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_what_cannot_be_read_is_refused(authority: Authority, text: bytes) -> None:
    with pytest.raises(ParadeError) as refused:
        believed(text, DEFAULT_DOMAIN, authorities(authority.trust_bundle), time.time())

    assert refusal(refused) == Refusal.UNREADABLE


def test_roots_without_a_name_for_their_key_are_no_roots(authority: Authority) -> None:
    leaf = authority.certificates(ANN).certificate_chain

    with pytest.raises(ValueError, match="no root"):
        authorities(leaf)
    assert authorities(leaf + authority.trust_bundle) == authorities(authority.trust_bundle)


class World:
    """The peers of a process whose clock and roots a test owns."""

    def __init__(self, authority: Authority) -> None:
        self.authority = authority
        self.source = authority.source(Identity.service("dispatcher"))
        self.time = time.time()
        self.revocations = Revocations()
        self.peers = Peers(DEFAULT_DOMAIN, self.source, self.revocations, lambda: self.time)

    def show(self, made: Certificates) -> Peer:
        return self.peers.of({"x509_pem_cert": [made.certificate_chain]})


@pytest.fixture
def world(authority: Authority) -> World:
    return World(authority)


def test_who_shows_no_certificate_is_nobody(world: World) -> None:
    assert world.peers.of({}) is NOBODY
    world.peers.check(NOBODY)


def test_a_certificate_is_read_once(world: World) -> None:
    made = world.authority.certificates(ANN)

    assert world.show(made) is world.show(made)


def test_a_certificate_that_ends_is_refused_from_then_on(world: World) -> None:
    made = world.authority.certificates(ANN)
    peer = world.show(made)

    world.time = peer.not_after - 0.001
    world.show(made)
    world.time = peer.not_after
    with pytest.raises(ParadeError) as refused:
        world.show(made)

    assert refusal(refused) == Refusal.EXPIRED


@pytest.mark.parametrize("by", ["serial", "identity"])
def test_a_revoked_certificate_is_refused_from_then_on(world: World, by: str) -> None:
    made = world.authority.certificates(ANN)
    peer = world.show(made)

    named = {"serial": peer.serial} if by == "serial" else {"spiffe_id": peer.spiffe_id}
    world.revocations.add(Revocation(peer.not_after, "the laptop was stolen", **named), world.time)
    with pytest.raises(ParadeError, match="the laptop was stolen") as refused:
        world.show(made)

    assert refusal(refused) == Refusal.REVOKED


def test_a_new_root_is_believed_beside_the_old(world: World, tmp_path: Path) -> None:
    other = Authority(tmp_path)
    old, new = world.show(world.authority.certificates(ANN)), other.certificates(ANN)
    with pytest.raises(ParadeError):
        world.show(new)

    both = world.authority.trust_bundle + other.trust_bundle
    world.source.replace(world.authority.certificates(Identity.service("dispatcher"), trust_bundle=both))

    assert world.show(new).identity == ANN
    world.peers.check(old)


def test_what_a_root_has_signed_is_refused_once_it_has_left_the_bundle(world: World, tmp_path: Path) -> None:
    made = world.authority.certificates(ANN)
    world.show(made)

    world.source.replace(world.authority.certificates(Identity.service("dispatcher"), trust_bundle=Authority(tmp_path).trust_bundle))
    world.time += ROOTS_LOOK
    with pytest.raises(ParadeError) as refused:
        world.show(made)

    assert refusal(refused) == Refusal.AUTHORITY


def test_a_trust_bundle_that_cannot_be_read_leaves_the_roots_as_they_were(world: World) -> None:
    made = world.authority.certificates(ANN)

    world.source.replace(world.authority.certificates(ANN, trust_bundle=b"half a bun"))

    assert world.show(made).identity == ANN


def test_without_a_usable_trust_bundle_nothing_starts(authority: Authority) -> None:
    source = MemorySource(authority.certificates(ANN, trust_bundle=b"half a bun"))

    with pytest.raises(ValueError, match="no root"):
        Peers(DEFAULT_DOMAIN, source, Revocations())
