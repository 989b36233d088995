"""Whether a key is that of a certificate, for the kinds of key that are taken; against what `cryptography` says."""

import base64
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from parade.wire.key_pair import require_pair

KEYS: dict[str, Callable[[], object]] = {
    "P-256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "P-384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "RSA": lambda: rsa.generate_private_key(65537, 2048),
    "Ed25519": ed25519.Ed25519PrivateKey.generate,
}


def certificate(key: object) -> bytes:
    name = x509.Name([])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())  # type: ignore[attr-defined]
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256())  # type: ignore[arg-type]
    )
    return made.public_bytes(serialization.Encoding.PEM)


def encoded(key: object, form: PrivateFormat = PrivateFormat.PKCS8) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, form, NoEncryption())  # type: ignore[attr-defined,no-any-return]


@pytest.mark.parametrize("kind", KEYS)
@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
def test_a_pair_is_one(kind: str, form: PrivateFormat) -> None:
    if kind == "Ed25519" and form is PrivateFormat.TraditionalOpenSSL:
        pytest.skip("there is no such form")
    key = KEYS[kind]()

    require_pair(certificate(key), encoded(key, form))


@pytest.mark.parametrize("kind", KEYS)
@pytest.mark.parametrize("other", KEYS)
def test_another_key_is_refused(kind: str, other: str) -> None:
    with pytest.raises(ValueError, match="does not belong"):
        require_pair(certificate(KEYS[kind]()), encoded(KEYS[other]()))


def test_a_key_that_does_not_carry_its_public_half_is_one_too() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    number = key.private_numbers().private_value.to_bytes(32)
    # ECPrivateKey of RFC 5915 with nothing but the number and the curve, as some tools write it.
    bare = bytes.fromhex("30310201010420") + number + bytes.fromhex("a00a06082a8648ce3d030107")
    pem = serialization.load_der_private_key(bare, None)
    text = b"-----BEGIN EC PRIVATE KEY-----\n" + base64.encodebytes(bare) + b"-----END EC PRIVATE KEY-----\n"
    assert pem.public_key() == key.public_key()

    require_pair(certificate(key), text)
    with pytest.raises(ValueError, match="does not belong"):
        require_pair(certificate(KEYS["P-256"]()), text)


def test_the_first_of_a_chain_counts() -> None:
    key, above = KEYS["P-256"](), KEYS["P-256"]()

    require_pair(certificate(key) + certificate(above), encoded(key))
    with pytest.raises(ValueError, match="does not belong"):
        require_pair(certificate(above) + certificate(key), encoded(key))


def test_what_is_missing_is_said() -> None:
    key = KEYS["P-256"]()
    with pytest.raises(ValueError, match="no certificate"):
        require_pair(b"", encoded(key))
    with pytest.raises(ValueError, match="no private key"):
        require_pair(certificate(key), b"")


def test_a_key_under_a_password_is_refused() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    locked = key.private_bytes(serialization.Encoding.PEM, PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"secret"))

    with pytest.raises(ValueError, match="cannot be used"):
        require_pair(certificate(key), locked)


_KEY = ec.generate_private_key(ec.SECP256R1())
_PAIR = (certificate(_KEY), encoded(_KEY))


@given(st.integers(0, len(_PAIR[0]) - 1), st.integers(0, 255), st.integers(0, len(_PAIR[1])))
def test_what_is_half_written_or_spoilt_is_refused_and_never_more(place: int, octet: int, end: int) -> None:
    chain, key = _PAIR
    for spoilt in ((chain[:place] + bytes([octet]) + chain[place + 1 :], key), (chain, key[:end])):
        try:
            require_pair(*spoilt)
        except ValueError:
            continue


def test_it_does_without_cryptography() -> None:
    chain, key = _PAIR
    program = (
        "import sys\n"
        "from parade.wire.key_pair import require_pair\n"
        f"require_pair({chain!r}, {key!r})\n"
        "try:\n"
        f"    require_pair({chain!r}, {encoded(KEYS['P-256']())!r})\n"
        "except ValueError:\n"
        "    pass\n"
        "assert not [name for name in sys.modules if name.startswith('cryptography')]\n"
    )

    subprocess.run([sys.executable, "-c", program], check=True, timeout=30)
