"""Whether a private key is that of a certificate.

It is asked in services that wait, so it does without `cryptography`, which would cost each of them 13 MB: most keys carry their public
half.
"""

import binascii
import re
from typing import Final

from parade.wire import der

_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----\s+([A-Za-z0-9+/=\s]+?)\s*-----END \1-----")
_POINT = re.compile(rb"\xa1.\x03.\x00\x04", re.DOTALL)
"""Where the key of an elliptic curve carries its public half: RFC 5915, section 3."""
_VERSION: Final = 0xA0
_PUBLIC_KEY: Final = 5
"""Which field of a certificate, after its version, is the public key: RFC 5280, section 4.1."""


def require_pair(certificate_chain: bytes, private_key: bytes) -> None:
    """Raises where a key is not that of the first certificate of a chain; both PEM.

    Raises:
        ValueError: It is not, or one of them is none.
    """
    certificate, key = _first(certificate_chain, b"CERTIFICATE"), _first(private_key, b"PRIVATE KEY")
    if not certificate:
        raise ValueError("there is no certificate where the certificate should be")
    if not key:
        raise ValueError("there is no private key where the private key should be")
    information = _public_key_information(certificate)
    if _public_half(information) in key:
        return
    # A point that is there is another one; where there is none, as in a key of Ed25519, it takes arithmetic to find it.
    if _POINT.search(key) or _computed_information(private_key) != information:
        raise ValueError("the private key does not belong to the certificate")


def _first(pem: bytes, kind: bytes) -> bytes:
    return next((binascii.a2b_base64(match[2]) for match in _BLOCK.finditer(pem) if match[1].endswith(kind)), b"")


def _public_key_information(certificate: bytes) -> bytes:
    signed, *_ = der.elements(der.only(certificate, der.SEQUENCE))
    fields = [field for field in der.elements(der.content(signed, der.SEQUENCE)) if field.tag != _VERSION]
    if len(fields) <= _PUBLIC_KEY:
        raise ValueError("a certificate has a public key")
    return der.content(fields[_PUBLIC_KEY], der.SEQUENCE)


def _public_half(information: bytes) -> bytes:
    """Returns what a private key carries of its public key: the modulus of RSA, or else the whole, such as a point."""
    _, value = der.elements(information)
    public = der.bits(value)
    if public[:1] == bytes([der.SEQUENCE]):
        modulus, *_ = der.elements(der.only(public, der.SEQUENCE))
        return modulus.content
    return public


def _computed_information(private_key: bytes) -> bytes:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization

    try:
        public = serialization.load_pem_private_key(private_key, None).public_key()
    except (TypeError, UnsupportedAlgorithm) as error:
        raise ValueError(f"the private key cannot be used: {error}") from error
    encoded = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return der.only(encoded, der.SEQUENCE)
