"""Certificates in X.509: reads of them what tells whose they are. It believes nothing (see `peer`), and checks no signature, as TLS does.

A service that signs nothing does without `cryptography` so, which takes 13 MB of memory. Source: RFC 5280.
"""

import binascii
import hashlib
import re
from dataclasses import dataclass
from typing import Final, NamedTuple

from parade.wire import der

CLIENT_AUTHENTICATION: Final = bytes.fromhex("2b06010505070302")
"""The purpose id-kp-clientAuth, 1.3.6.1.5.5.7.3.2, encoded as all object identifiers here."""

MIN_RSA_BITS: Final = 2048

_EC_KEY: Final = bytes.fromhex("2a8648ce3d0201")
_RSA_KEY: Final = bytes.fromhex("2a864886f70d010101")
_ED25519: Final = bytes.fromhex("2b6570")
_CURVES: Final = {bytes.fromhex("2a8648ce3d030107"): "P-256", bytes.fromhex("2b81040022"): "P-384"}

_SUBJECT_KEY: Final = bytes.fromhex("551d0e")
_ALTERNATIVE_NAMES: Final = bytes.fromhex("551d11")
_BASIC_CONSTRAINTS: Final = bytes.fromhex("551d13")
_AUTHORITY_KEY: Final = bytes.fromhex("551d23")
_PURPOSES: Final = bytes.fromhex("551d25")

_VERSION_3: Final = der.Element(0xA0, bytes((der.INTEGER, 1, 2)))
_URI: Final = 0x86
_KEY_IDENTIFIER: Final = 0x80
_EXTENSIONS: Final = 0xA3
_UNIQUE_IDS: Final = (0x81, 0x82, 0xA1, 0xA2)

_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----\s+([A-Za-z0-9+/=\s]+?)\s*-----END CERTIFICATE-----")


class Name(NamedTuple):
    """An authority as certificates name it: the distinguished name and the key's identifier, both as they are encoded."""

    distinguished_name: bytes
    key_identifier: bytes


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a certificate says."""

    serial: str
    """The serial number, in lower hexadecimal without leading zeros."""
    issuer: Name
    """Who signed it, as it says; without a key identifier where it names none."""
    subject: Name
    """Whose it is; without a key identifier where it names none."""
    not_before: float
    """From when it is good, in seconds since 1970."""
    not_after: float
    """Until when."""
    weakness: str
    """What is wrong with its key; empty for P-256, P-384, Ed25519 and RSA of 2048 bits and more."""
    is_authority: bool
    """Whether it may sign others."""
    purposes: frozenset[bytes]
    """What it may be used for, as object identifiers."""
    uris: tuple[str, ...]
    """The URIs among its alternative names."""
    fingerprint: bytes
    """The SHA-256 of its encoding."""


def encodings(pem: bytes) -> list[bytes]:
    """Returns the certificates in a text, each in DER.

    Raises:
        ValueError: One of them is not in base64.
    """
    return [binascii.a2b_base64(match[1]) for match in _PEM.finditer(pem)]


def read(encoded: bytes) -> Certificate:
    """Reads a certificate.

    Args:
        encoded: The certificate, in DER.

    Raises:
        ValueError: It is none.
    """
    whole = der.elements(der.only(encoded, der.SEQUENCE))
    if len(whole) != 3:  # what is signed, how, and the signature
        raise ValueError("a certificate has three parts")
    fields = der.elements(der.content(whole[0], der.SEQUENCE))
    if len(fields) < 8 or fields[0] != _VERSION_3:
        raise ValueError("a certificate is of version 3")
    serial, _, issuer, validity, subject, key, *rest = fields[1:]
    number = der.integer(serial)
    if number < 0:
        raise ValueError("a serial number is positive")
    times = der.elements(der.content(validity, der.SEQUENCE))
    if len(times) != 2:
        raise ValueError("a validity has a beginning and an end")
    extensions = _extensions(rest)
    return Certificate(
        serial=f"{number:x}",
        issuer=Name(der.content(issuer, der.SEQUENCE), _authority_key(extensions)),
        subject=Name(der.content(subject, der.SEQUENCE), _subject_key(extensions)),
        not_before=der.seconds(times[0]),
        not_after=der.seconds(times[1]),
        weakness=_weakness(key),
        is_authority=_is_authority(extensions),
        purposes=_purposes(extensions),
        uris=_uris(extensions),
        fingerprint=hashlib.sha256(encoded).digest(),
    )


def _extensions(rest: list[der.Element]) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    while rest and rest[0].tag in _UNIQUE_IDS:
        rest = rest[1:]
    if len(rest) != 1:
        raise ValueError("a certificate without extensions says nothing of its holder")
    for extension in der.elements(der.only(der.content(rest[0], _EXTENSIONS), der.SEQUENCE)):
        parts = der.elements(der.content(extension, der.SEQUENCE))
        if len(parts) == 3:  # with the word whether it is critical, which TLS heeds
            der.boolean(parts.pop(1))
        if len(parts) != 2:
            raise ValueError("an extension has a name and a value")
        name = der.content(parts[0], der.OBJECT_IDENTIFIER)
        if name in found:
            raise ValueError("an extension stands there twice")
        found[name] = der.content(parts[1], der.OCTET_STRING)
    return found


def _weakness(encoded: der.Element) -> str:
    parts = der.elements(der.content(encoded, der.SEQUENCE))
    if len(parts) != 2:
        raise ValueError("a public key has an algorithm and a value")
    algorithm, *parameters = der.elements(der.content(parts[0], der.SEQUENCE))
    value = der.bits(parts[1])
    match der.content(algorithm, der.OBJECT_IDENTIFIER):
        case name if name == _ED25519:
            return ""
        case name if name == _EC_KEY:
            if len(parameters) == 1 and parameters[0].tag == der.OBJECT_IDENTIFIER and parameters[0].content in _CURVES:
                return ""
            return "its key is on a curve that is not P-256 or P-384"
        case name if name == _RSA_KEY:
            numbers = der.elements(der.only(value, der.SEQUENCE))
            if not numbers:
                raise ValueError("an RSA key has a modulus")
            modulus = der.integer(numbers[0])
            size = modulus.bit_length() if modulus > 0 else 0
            return "" if size >= MIN_RSA_BITS else f"its RSA key has {size} bits; {MIN_RSA_BITS} are the least"
    return "its key is of a kind that is not taken; P-256, P-384, Ed25519 and RSA are"


def _is_authority(extensions: dict[bytes, bytes]) -> bool:
    encoded = extensions.get(_BASIC_CONSTRAINTS)
    if encoded is None:
        return False
    parts = der.elements(der.only(encoded, der.SEQUENCE))
    return bool(parts) and parts[0].tag == der.BOOLEAN and der.boolean(parts[0])


def _purposes(extensions: dict[bytes, bytes]) -> frozenset[bytes]:
    encoded = extensions.get(_PURPOSES)
    if encoded is None:
        return frozenset()
    return frozenset(der.content(purpose, der.OBJECT_IDENTIFIER) for purpose in der.elements(der.only(encoded, der.SEQUENCE)))


def _uris(extensions: dict[bytes, bytes]) -> tuple[str, ...]:
    encoded = extensions.get(_ALTERNATIVE_NAMES)
    if encoded is None:
        return ()
    return tuple(name.content.decode("ascii") for name in der.elements(der.only(encoded, der.SEQUENCE)) if name.tag == _URI)


def _authority_key(extensions: dict[bytes, bytes]) -> bytes:
    encoded = extensions.get(_AUTHORITY_KEY)
    if encoded is None:
        return b""
    return next((part.content for part in der.elements(der.only(encoded, der.SEQUENCE)) if part.tag == _KEY_IDENTIFIER), b"")


def _subject_key(extensions: dict[bytes, bytes]) -> bytes:
    encoded = extensions.get(_SUBJECT_KEY)
    return b"" if encoded is None else der.only(encoded, der.OCTET_STRING)
