"""A certificate is read as `cryptography` reads it, whoever made it, and what is none is refused and never worse."""

import hashlib
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import cache

import pytest
from cryptography import x509 as reference
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from parade.wire import der, x509
from tests.support.bad_certificates import Draft, PrivateKey, Signer, pem

FIRST, LAST = datetime(1950, 1, 1), datetime(9999, 12, 31, 23, 59, 59)  # noqa: DTZ001  # `cryptography` wants them so
KEYS: dict[str, Callable[[], PrivateKey]] = {
    "P-256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "P-384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "Ed25519": ed25519.Ed25519PrivateKey.generate,
    "RSA 2048": lambda: rsa.generate_private_key(65537, 2048),
    "RSA 3072": lambda: rsa.generate_private_key(65537, 3072),
    "P-521": lambda: ec.generate_private_key(ec.SECP521R1()),
    "secp256k1": lambda: ec.generate_private_key(ec.SECP256K1()),
    "RSA 1024": lambda: rsa.generate_private_key(65537, 1024),  # noqa: S505  # weak on purpose
    "DSA 2048": lambda: dsa.generate_private_key(2048),
}
STRONG = ("P-256", "P-384", "Ed25519", "RSA 2048", "RSA 3072")
PURPOSES = (
    ExtendedKeyUsageOID.SERVER_AUTH,
    ExtendedKeyUsageOID.CLIENT_AUTH,
    ExtendedKeyUsageOID.CODE_SIGNING,
    ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
)


@cache  # a long key takes long to make
def key_of(kind: str) -> PrivateKey:
    return KEYS[kind]()


@cache
def root() -> Signer:
    name = reference.Name([reference.NameAttribute(NameOID.COMMON_NAME, "a root")])
    draft = Draft((), subject=name, is_authority=True, purposes=(), subject_key=True, key=key_of("P-256"))
    return Signer(draft.key, draft.signed(None))


names = st.text(st.characters(codec="ascii", categories=["L", "N"]), max_size=40)
seconds = st.integers(0, int((LAST - FIRST).total_seconds()))
drafts = st.builds(
    lambda uris, dns_names, times, purposes, is_authority, kind, serial, subject_key, authority_key, subject: Draft(
        uris=tuple(f"spiffe://{uri}/path" for uri in uris),
        dns_names=tuple(f"host{name}" for name in dns_names),
        not_before=FIRST + timedelta(seconds=min(times)),
        not_after=FIRST + timedelta(seconds=max(times)),
        purposes=tuple(purposes),
        is_authority=is_authority,
        key=key_of(kind),
        serial=serial,
        subject_key=subject_key,
        authority_key=authority_key,
        subject=reference.Name([reference.NameAttribute(NameOID.COMMON_NAME, text) for text in subject]),
    ),
    st.lists(names, max_size=5),
    st.lists(names, max_size=5),
    st.tuples(seconds, seconds),
    st.lists(st.sampled_from(PURPOSES), unique=True),
    st.booleans(),
    st.sampled_from(tuple(KEYS)),
    st.integers(1, 2**159 - 1) | st.integers(1, 300),
    st.booleans(),
    st.none() | st.binary(max_size=40),
    st.lists(st.text(min_size=1, max_size=16), max_size=3),  # 64 bytes at most
)


@settings(max_examples=300, deadline=None)
@given(drafts)
def test_a_certificate_is_read_as_its_maker_wrote_it(draft: Draft) -> None:
    made = draft.signed(root())
    encoded = made.public_bytes(serialization.Encoding.DER)

    read = x509.read(encoded)

    assert read.serial == f"{made.serial_number:x}"
    assert (read.not_before, read.not_after) == (made.not_valid_before_utc.timestamp(), made.not_valid_after_utc.timestamp())
    assert read.uris == draft.uris
    assert read.purposes == {_encoded(purpose) for purpose in draft.purposes}
    assert read.is_authority == draft.is_authority
    assert (read.weakness == "") == any(draft.key is key_of(kind) for kind in STRONG)
    assert der.only(made.subject.public_bytes(), der.SEQUENCE) == read.subject.distinguished_name
    assert der.only(made.issuer.public_bytes(), der.SEQUENCE) == read.issuer.distinguished_name
    assert read.subject.key_identifier == (_digest(draft.key) if draft.subject_key else b"")
    assert read.issuer.key_identifier == (_digest(root().key) if draft.authority_key is None else draft.authority_key)
    assert read.fingerprint == hashlib.sha256(encoded).digest()


@settings(max_examples=1_000, deadline=None)
@given(st.data())
def test_what_is_no_certificate_any_more_is_read_or_refused_and_nothing_worse(data: st.DataObject) -> None:
    encoded = bytearray(_sample(data.draw(st.sampled_from(tuple(KEYS)))))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(encoded) - 1))
        match data.draw(st.sampled_from(["flip", "put", "delete", "insert", "cut"])):
            case "flip":
                encoded[place] ^= 1 << data.draw(st.integers(0, 7))
            case "put":
                encoded[place] = data.draw(st.sampled_from([0x00, 0x02, 0x30, 0x7F, 0x80, 0x84, 0xA0, 0xFF]))
            case "delete":
                del encoded[place : place + data.draw(st.integers(1, 8))]
            case "insert":
                encoded[place:place] = data.draw(st.binary(min_size=1, max_size=8))
            case "cut":
                del encoded[max(place, 1) :]
        if not encoded:
            return

    with suppress(ValueError):
        x509.read(bytes(encoded))


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=300))
def test_garbage_is_refused(garbage: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # whatever is wrong with it
        x509.read(garbage)


@settings(max_examples=500, deadline=None)
@given(st.data())
def test_a_certificate_with_something_behind_it_or_cut_short_is_refused(data: st.DataObject) -> None:
    encoded = _sample("P-256")
    changed = data.draw(
        st.one_of(
            st.integers(0, len(encoded) - 1).map(lambda end: encoded[:end]),
            st.binary(min_size=1, max_size=20).map(lambda more: encoded + more),
        )
    )

    with pytest.raises(ValueError):  # noqa: PT011  # whatever is wrong with it
        x509.read(changed)


def test_an_extension_that_stands_there_twice_is_refused() -> None:
    # The same extension a second time is what tells two readers apart: one takes the first, the other the last.
    encoded = _sample("P-256")
    purposes = bytes.fromhex("0603551d25")
    assert purposes in encoded

    with pytest.raises(ValueError, match="twice"):
        x509.read(encoded.replace(purposes, bytes.fromhex("0603551d11")))


@pytest.mark.parametrize(
    ("encoded", "fault"),
    [
        ("0500 1f8100", "above 30"),
        ("02", "without a length"),
        ("0280", "cannot be"),
        ("0285 0000000001 00", "cannot be"),
        ("0282 01", "cannot be"),
        ("0281 05 0102030405", "shorter form"),
        ("0282 0080" + "00" * 128, "shorter form"),
        ("0205 01", "past its end"),
    ],
)
def test_a_value_that_is_not_encoded_as_it_must_be_is_refused(encoded: str, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        der.elements(bytes.fromhex(encoded))


@pytest.mark.parametrize("encoded", ["", "0001", "007f", "ff80"])
def test_a_number_that_has_a_shorter_form_is_refused(encoded: str) -> None:
    with pytest.raises(ValueError, match="shorter form"):
        der.integer(der.Element(der.INTEGER, bytes.fromhex(encoded)))


@given(st.integers(-(2**160), 2**160))
def test_a_number_is_read_as_it_was_written(number: int) -> None:
    length = (number if number >= 0 else ~number).bit_length() // 8 + 1

    assert der.integer(der.Element(der.INTEGER, number.to_bytes(length, signed=True))) == number


@pytest.mark.parametrize(
    ("tag", "text", "time"),
    [
        (der.UTC_TIME, "491231235959Z", datetime(2049, 12, 31, 23, 59, 59, tzinfo=UTC)),
        (der.UTC_TIME, "500101000000Z", datetime(1950, 1, 1, tzinfo=UTC)),
        (der.GENERALIZED_TIME, "20500101000000Z", datetime(2050, 1, 1, tzinfo=UTC)),
        (der.GENERALIZED_TIME, "99991231235959Z", datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)),
    ],
)
def test_a_time_is_read_in_its_century(tag: int, text: str, time: datetime) -> None:
    assert der.seconds(der.Element(tag, text.encode())) == time.timestamp()


@pytest.mark.parametrize(
    ("tag", "text"),
    [
        (der.UTC_TIME, "20500101000000Z"),
        (der.GENERALIZED_TIME, "500101000000Z"),
        (der.UTC_TIME, "5001010000Z"),
        (der.UTC_TIME, "500101000000+"),
        (der.UTC_TIME, "50010100000 Z"),
        (der.UTC_TIME, "501301000000Z"),
        (der.UTC_TIME, "500230000000Z"),
        (der.UTC_TIME, "500101240000Z"),
        (der.GENERALIZED_TIME, "00000101000000Z"),
        (der.INTEGER, "500101000000Z"),
        (der.UTC_TIME, "\uff1500101000000Z"),
    ],
)
def test_a_time_that_is_none_is_refused(tag: int, text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # whatever is wrong with it
        der.seconds(der.Element(tag, text.encode()))


def test_the_certificates_of_a_text_are_found_in_their_order() -> None:
    first, second = (Draft(("spiffe://parade.local/service/monitor",), serial=serial).signed(root()) for serial in (1, 2))
    text = b"a comment\n" + pem(first) + b"\n" + pem(second).replace(b"\n", b"\r\n")

    assert [x509.read(encoded).serial for encoded in x509.encodings(text)] == ["1", "2"]


def test_a_text_without_certificates_holds_none() -> None:
    assert x509.encodings(b"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----") == []


@cache
def _sample(kind: str) -> bytes:
    draft = Draft(("spiffe://parade.local/service/monitor",), ("monitor",), key=key_of(kind), subject_key=True)
    return draft.signed(root()).public_bytes(serialization.Encoding.DER)


def _encoded(identifier: reference.ObjectIdentifier) -> bytes:
    first, second, *rest = (int(part) for part in identifier.dotted_string.split("."))
    found = bytearray()
    for number in (40 * first + second, *rest):
        digits = [number & 0x7F]
        while number := number >> 7:
            digits.append(number & 0x7F | 0x80)
        found += bytes(reversed(digits))
    return bytes(found)


def _digest(key: PrivateKey) -> bytes:
    return reference.SubjectKeyIdentifier.from_public_key(key.public_key()).digest
