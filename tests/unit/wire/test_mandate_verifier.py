"""A mandate is believed that a dispatcher has made for who shows it. Ten thousand that were forged, stolen or changed are not."""

import base64
import hashlib
import hmac
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import jwt
import orjson
import pytest
from cryptography.hazmat.primitives import serialization
from hypothesis import given, settings
from hypothesis import strategies as st

from parade.wire.certificates import Certificates, MemorySource
from parade.wire.errors import ParadeError, Reason
from parade.wire.identity import DEFAULT_DOMAIN, Identity
from parade.wire.mandate import MANDATE, MAX_BYTES, TYPE, WHOLE, Mandate, Refusal, Scope, claims, holder_of
from parade.wire.mandate_issuer import SHORTEST, Issuer
from parade.wire.mandate_verifier import LOOK, SKEW, Verifier
from parade.wire.peers import Peers
from parade.wire.revocations import Revocation, Revocations
from parade.wire.x509 import encodings
from tests.support.bad_certificates import KINDS, bad
from tests.support.certificates import Authority

DISPATCHER = Identity.service("dispatcher")
SHOP = Identity.agent("shop", "i-1")
BANK = Identity.agent("bank", "i-2")
ANN = Identity.client("ann")
NARROW = Scope(("bank.*",), (holder_of(BANK),), "t-1")


class Hands:
    """Somebody with a certificate and its key, who signs what they like."""

    def __init__(self, made: Certificates) -> None:
        key: Any = serialization.load_pem_private_key(made.private_key, None)
        self.key = key
        self.x5c = base64.b64encode(encodings(made.certificate_chain)[0]).decode()
        self.public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)

    def sign(self, payload: bytes, header: dict[str, Any] | None = None, **more: Any) -> bytes:
        written = {"typ": TYPE, "alg": "ES256", "x5c": [self.x5c], **more} if header is None else header
        start = encoded(orjson.dumps(written)) + b"." + encoded(payload)
        return start + b"." + encoded(jwt.algorithms.ECAlgorithm(jwt.algorithms.ECAlgorithm.SHA256).sign(start, self.key))


class World:
    """A mesh with two dispatchers, an agent, and a clock."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority(folder)
        self.source = self.authority.source(DISPATCHER)
        self.revocations = Revocations()
        self.now = 0.0
        self.reset()
        self.trust = MemorySource(self.authority.certificates(SHOP))
        self.peers = Peers(DEFAULT_DOMAIN, self.trust, self.revocations, lambda: self.now)
        self.verifier = Verifier(self.peers)
        self.issuer = Issuer(self.source, lambda: self.now)
        self.rightful = Hands(self.source.current())
        self.second = Hands(self.authority.certificates(DISPATCHER))
        self.agent = Hands(self.authority.certificates(SHOP))
        self.strangers = [
            *(Hands(bad(kind, self.authority, DISPATCHER)) for kind in KINDS if kind != "weak key"),
            *(Hands(self.authority.certificates(who)) for who in (ANN, BANK, *map(Identity.service, ("gateway", "scheduler", "monitor")))),
        ]

    def reset(self) -> None:
        import time

        self.now = time.time()

    def token(self, *, subject: str = ANN.uri, run: str = "run-1", agent: str = "shop", scope: Scope = NARROW, left: float = 60.0) -> bytes:
        return self.issuer.mandate(subject, "default", run, agent, scope, left)

    def mandate(self, **changed: Any) -> Mandate:
        """Returns a mandate as a dispatcher would make it, but for what is changed."""
        now = int(self.now)
        return Mandate(DISPATCHER.uri, ANN.uri, "default", holder_of(SHOP), "run-1", NARROW, now, now + 300)._replace(**changed)

    def payload(self, **changed: Any) -> bytes:
        return claims(self.mandate(**changed), DEFAULT_DOMAIN)

    def verify(self, token: bytes, holder: str = holder_of(SHOP), namespace: str = "default") -> Mandate:
        return self.verifier.verify(token, holder, namespace)

    def refusal(self, token: bytes, holder: str = holder_of(SHOP), namespace: str = "default") -> str:
        with pytest.raises(ParadeError) as caught:
            self.verify(token, holder, namespace)
        assert caught.value.reason is Reason.PERMISSION_DENIED
        return caught.value.metadata[MANDATE]


def encoded(content: bytes) -> bytes:
    return base64.urlsafe_b64encode(content).rstrip(b"=")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("mandates"))


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


# ---------------------------------------------------------------------------------------------------------- what is believed


@pytest.mark.parametrize("scope", [WHOLE, NARROW])
def test_what_a_dispatcher_has_made_is_believed(made: World, scope: Scope) -> None:
    mandate = made.verify(made.token(scope=scope))

    assert (mandate.subject, mandate.run, mandate.scope.functions, mandate.scope.actors) == (
        ANN.uri,
        "run-1",
        scope.functions,
        scope.actors,
    )


def test_what_is_written_by_hand_as_a_dispatcher_does_is_believed_too(made: World) -> None:
    assert made.verify(made.second.sign(made.payload())) == made.mandate()


# ------------------------------------------------------------------------------------------------------------- what is not

Attack = Callable[[World, st.DataObject], tuple[bytes, str, str]]
"""Returns what is shown, by whom and where."""
ME, HERE = holder_of(SHOP), "default"
TEXTS = st.text(max_size=30)


def _changed_byte(world: World, data: st.DataObject) -> tuple[bytes, str, str]:
    token = world.token()
    place = data.draw(st.integers(0, len(token) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda byte: byte != token[place]))
    return token[:place] + bytes((byte,)) + token[place + 1 :], ME, HERE


def _cut_or_grown(world: World, data: st.DataObject) -> tuple[bytes, str, str]:
    token = world.token()
    place = data.draw(st.integers(0, len(token)))
    end = data.draw(st.integers(place, min(len(token), place + 200)))
    more = data.draw(st.binary(max_size=50) | st.text("=.AQw-_ \n", max_size=4).map(str.encode))
    shown = token[:place] + more + token[end:]
    return (shown if shown != token else b""), ME, HERE


def _other_claims(world: World, data: st.DataObject) -> tuple[bytes, str, str]:
    """Writes other claims under the signature of a good one: wider, for somebody else, for longer."""
    header, _, signature = world.token().split(b".")
    changed: dict[str, Any] = data.draw(
        st.fixed_dictionaries(
            {},
            optional={
                "subject": st.sampled_from([Identity.client("root").uri, "key:0123456789"]) | TEXTS,
                "namespace": TEXTS,
                "run": TEXTS,
                "issued": st.integers(0, 2**33),
                "expires": st.integers(0, 2**33),
                "scope": st.sampled_from([WHOLE, NARROW._replace(functions=("*",)), NARROW._replace(actors=())]),
            },
        )
    )
    shown = b".".join((header, encoded(world.payload(**changed)), signature))
    return (shown if shown != world.token() else b""), ME, HERE


def _spliced(world: World, data: st.DataObject) -> tuple[bytes, str, str]:
    """Puts parts of several good ones together."""
    good = [world.token().split(b"."), world.token(scope=WHOLE).split(b"."), world.second.sign(world.payload()).split(b".")]
    parts = data.draw(st.tuples(*(st.integers(0, 2),) * 3).filter(lambda parts: len(set(parts)) > 1))
    shown = b".".join(good[which][place] for place, which in enumerate(parts))
    return (shown if all(shown != b".".join(one) for one in good) else b""), ME, HERE


def _strangers(world: World, data: st.DataObject) -> tuple[bytes, str, str]:
    """Signs with a certificate that makes nobody a dispatcher of this mesh."""
    hands = data.draw(st.sampled_from([world.agent, *world.strangers]))
    return hands.sign(world.payload(issuer=data.draw(st.sampled_from([DISPATCHER.uri, SHOP.uri])))), ME, HERE


def _borrowed(world: World, data: st.DataObject) -> tuple[bytes, str, str]:
    """Shows a dispatcher's certificate, and signs with another's key."""
    hands = data.draw(st.sampled_from([world.agent, world.second, *world.strangers]))
    return hands.sign(world.payload(), x5c=[world.rightful.x5c]), ME, HERE


def _algorithm(world: World, data: st.DataObject) -> tuple[bytes, str, str]:
    """Says that it is not signed, or signed in a way in which the public key is the secret."""
    name = data.draw(st.sampled_from(["none", "None", "nOnE", "", "HS256", "HS512", "ES384", "RS256", "EdDSA", "es256"]))
    header = orjson.dumps({"typ": TYPE, "alg": name, "x5c": [world.rightful.x5c]})
    start = encoded(header) + b"." + encoded(world.payload())
    ways = {
        "nothing": b"",
        "zeros": bytes(64),
        "hmac": hmac.digest(world.rightful.public, start, hashlib.sha512 if name == "HS512" else hashlib.sha256),
        "hmac of DER": hmac.digest(base64.b64decode(world.rightful.x5c), start, hashlib.sha512),
        "another's": base64.urlsafe_b64decode(world.token().rsplit(b".", 1)[1] + b"=="),
    }
    return start + b"." + encoded(data.draw(st.sampled_from(list(ways.values())))), ME, HERE


def _header(world: World, data: st.DataObject) -> tuple[bytes, str, str]:
    """Lets the rightful dispatcher sign what is no mandate by its header, as a token that it made for something else."""
    header: dict[str, Any] = {"typ": TYPE, "alg": "ES256", "x5c": [world.rightful.x5c]}
    change: dict[str, Any] = data.draw(
        st.sampled_from(
            [
                {"typ": "JWT"},
                {"typ": "at+jwt"},
                {"typ": TYPE.upper()},
                {"typ": None},
                {"x5c": []},
                {"x5c": [world.rightful.x5c, world.agent.x5c]},
                {"x5c": world.rightful.x5c},
                {"x5c": [world.rightful.x5c + "\n"]},
                {"x5c": [world.rightful.x5c[:-8]]},
                {"x5c": ["-----END CERTIFICATE-----\n" + world.rightful.x5c]},
                {"crit": ["exp"]},
                {"b64": False, "crit": ["b64"]},
                {"kid": "1"},
                {"jwk": {"kty": "EC"}},
                {"jku": "https://elsewhere.example/keys"},
            ]
        )
    )
    return world.rightful.sign(world.payload(), {**header, **change}), ME, HERE


def _malformed(world: World, data: st.DataObject) -> tuple[bytes, str, str]:
    """Lets the rightful dispatcher sign what is no mandate by its claims."""
    good: dict[str, Any] = orjson.loads(world.payload())
    name = data.draw(st.sampled_from(sorted(good)))
    content: Any = data.draw(st.sampled_from([None, 1.5, [], {}, True, ["*"], {"sub": ""}, "", "x"]).filter(lambda one: one != good[name]))
    changed = {**good, name: content} if data.draw(st.booleans()) else {key: one for key, one in good.items() if key != name}
    if name in ("iat", "exp") and content is True:
        changed.pop(name, None)  # JSON has no such number, and Python takes it for 1
    if name in ("sub", "txn") and isinstance(changed.get(name), str):
        changed["more"] = 1  # a text is as good as another there, for who may sign it
    return world.rightful.sign(orjson.dumps(changed)), ME, HERE


def _stolen(world: World, data: st.DataObject) -> tuple[bytes, str, str]:
    """Shows a good one that is somebody else's, or somewhere else."""
    token = world.token(agent=data.draw(st.sampled_from(["shop", "bank", "shop-2"])))
    others = [
        holder_of(BANK),
        SHOP.uri,
        holder_of(replace(SHOP, namespace="sales")),
        holder_of(replace(SHOP, domain="elsewhere.local")),
        "",
    ]
    holder = data.draw(st.sampled_from(others))
    if holder == holder_of(BANK):
        return world.token(), holder, HERE
    return token, holder, data.draw(st.sampled_from([HERE, "sales"]))


def _elsewhere(world: World, data: st.DataObject) -> tuple[bytes, str, str]:
    return world.token(), ME, data.draw(TEXTS.filter(lambda text: text != HERE))


def _at_another_time(world: World, data: st.DataObject) -> tuple[bytes, str, str]:
    """Shows one again when it has ended, or before it was made: up to a minute ago."""
    token = world.token()
    later = st.floats(SHORTEST + 60 + SKEW, 11 * 3600)
    world.now += data.draw(later | st.floats(-11 * 3600, -SKEW - 62))
    return token, ME, HERE


def _another_domain(world: World, data: st.DataObject) -> tuple[bytes, str, str]:
    hands = data.draw(st.sampled_from([world.rightful, world.second]))
    return hands.sign(claims(world.mandate(), data.draw(TEXTS.filter(lambda text: text != DEFAULT_DOMAIN)))), ME, HERE


def _noise(world: World, data: st.DataObject) -> tuple[bytes, str, str]:
    return data.draw(st.binary(max_size=300) | st.text("abc.-_=", max_size=300).map(str.encode)), ME, HERE


ATTACKS: Final[tuple[Attack, ...]] = (
    _changed_byte,
    _cut_or_grown,
    _other_claims,
    _spliced,
    _strangers,
    _borrowed,
    _algorithm,
    _header,
    _malformed,
    _stolen,
    _elsewhere,
    _at_another_time,
    _another_domain,
    _noise,
)


def attacked(world: World, data: st.DataObject) -> None:
    world.reset()
    shown, holder, namespace = data.draw(st.sampled_from(ATTACKS))(world, data)
    known = len(world.verifier._known)

    refusal = world.refusal(shown, holder, namespace)

    assert refusal in set(Refusal)
    if refusal not in (Refusal.HOLDER, Refusal.NAMESPACE):
        assert len(world.verifier._known) <= known


@given(st.data())
@settings(max_examples=300)
def test_no_mandate_is_believed_that_was_forged_or_stolen(made: World, data: st.DataObject) -> None:
    attacked(made, data)


@pytest.mark.full
@pytest.mark.timeout(300)
@given(st.data())
@settings(max_examples=10_000)
def test_no_mandate_of_ten_thousand_is_believed_that_was_forged_or_stolen(made: World, data: st.DataObject) -> None:
    attacked(made, data)


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_each_attack_is_one(made: World, attack: Attack) -> None:
    @given(st.data())
    @settings(max_examples=10)
    def tried(data: st.DataObject) -> None:
        made.reset()
        made.refusal(*attack(made, data))

    tried()


# ------------------------------------------------------------------------------------------------ the rule that speaks against it


def test_each_refusal_says_its_rule(made: World) -> None:
    made.reset()
    token, now = made.token(), int(made.now)

    assert made.refusal(b"") == Refusal.MISSING
    assert made.refusal(b"x") == Refusal.MALFORMED
    assert made.refusal(b"x" * (MAX_BYTES + 1)) == Refusal.MALFORMED
    assert made.refusal(made.agent.sign(made.payload())) == Refusal.SIGNER
    assert made.refusal(made.second.sign(made.payload(), x5c=[made.rightful.x5c])) == Refusal.SIGNATURE
    assert made.refusal(made.rightful.sign(made.payload(issuer=SHOP.uri))) == Refusal.SIGNER
    assert made.refusal(made.rightful.sign(made.payload(issued=now - 3600))) == Refusal.SIGNER
    assert made.refusal(made.rightful.sign(made.payload(issued=now + 60))) == Refusal.NOT_YET_VALID
    assert made.refusal(made.rightful.sign(made.payload(expires=now - 31))) == Refusal.EXPIRED
    assert made.refusal(token, holder_of(BANK)) == Refusal.HOLDER
    assert made.refusal(token, namespace="sales") == Refusal.NAMESPACE


def test_clocks_may_differ_a_little(world: World) -> None:
    token = world.token()
    expires = world.verify(token).expires

    world.now -= SKEW - 2
    assert Verifier(world.peers).verify(token, ME, HERE)
    world.now = expires + SKEW - 1
    assert world.verify(token)
    world.now += 1
    assert world.refusal(token) == Refusal.EXPIRED


# ------------------------------------------------------------------------------------------------- what is believed for a while


def test_a_mandate_is_refused_at_once_whose_dispatcher_is_revoked(world: World) -> None:
    token = world.token()
    assert world.verify(token)

    world.revocations.add(Revocation(world.now + 3600, "stolen", spiffe_id=DISPATCHER.uri), world.now)

    assert world.refusal(token) == Refusal.SIGNER
    assert world.refusal(world.token(subject="other")) == Refusal.SIGNER


def test_a_mandate_ends_with_the_certificate_that_signed_it(world: World) -> None:
    world.source.replace(world.authority.certificates(DISPATCHER, lifetime=timedelta(minutes=10)))
    token = world.token(left=3600)
    world.now += 590
    assert world.verify(token)

    world.now += 11

    assert world.refusal(token) == Refusal.SIGNER
    assert world.verifier._known == {}
    assert world.refusal(token) == Refusal.SIGNER


def test_a_mandate_ends_when_its_root_is_trusted_no_more(world: World, tmp_path: Path) -> None:
    token = world.token()
    assert world.verify(token)
    newer = Authority(tmp_path / "newer")

    world.trust.replace(world.authority.certificates(SHOP, trust_bundle=newer.trust_bundle))
    world.now += LOOK

    assert world.refusal(token) == Refusal.SIGNER


def test_a_mandate_of_a_new_root_is_believed_as_soon_as_that_is_trusted(world: World, tmp_path: Path) -> None:
    newer = Authority(tmp_path / "newer")
    hands = Hands(newer.certificates(DISPATCHER))
    assert world.refusal(hands.sign(world.payload())) == Refusal.SIGNER

    world.trust.replace(world.authority.certificates(SHOP, trust_bundle=world.authority.trust_bundle + newer.trust_bundle))

    assert world.verify(hands.sign(world.payload()))
    assert world.verify(world.token())


def test_a_certificate_that_names_the_root_but_is_not_signed_by_it_makes_no_mandates(world: World) -> None:
    """The rules for peers let it pass, for TLS has checked signatures there; nobody has here."""
    hands = Hands(bad("a stranger's authority of the same name", world.authority, DISPATCHER))

    assert world.refusal(hands.sign(world.payload())) == Refusal.SIGNER


def test_only_so_many_are_remembered(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("parade.wire.mandate_verifier.MOST", 3)
    monkeypatch.setattr("parade.wire.mandate_verifier.MOST_SIGNERS", 2)

    for number in range(5):
        world.verify(world.token(subject=str(number)))
        world.verify(Hands(world.authority.certificates(DISPATCHER)).sign(world.payload()))

    assert len(world.verifier._known) == 3
    assert len(world.verifier._signers) == 2
