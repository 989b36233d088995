"""Join tokens as they are written: a secret, and the fingerprint of the authority to which alone it may be shown.

Like the pins of RFC 7469, the fingerprint is of the authority's public key and not of its certificate, which may be made anew.
"""

import hashlib
import re
import ssl
from typing import Final

from parade.wire import x509
from parade.wire.certificates import Certificates

PREFIX: Final = "parade_join_"
"""By which people and scanners for leaked secrets recognise a token."""
FINGERPRINT_BYTES: Final = 16
"""How much of the SHA-256 stands in the token: nobody finds another key for 128 bits."""

SHAPE: Final = re.compile(re.escape(PREFIX) + r"(?P<secret>[A-Za-z0-9_-]{43})_(?P<fingerprint>[0-9a-f]{32})")


def join_token(secret: str, fingerprint: str) -> str:
    """Returns a token.

    Args:
        secret: 256 random bits, in base64 for URLs.
        fingerprint: That of the root which whoever enrols will find above the server's certificate; see `root_fingerprint`.
    """
    return f"{PREFIX}{secret}_{fingerprint}"


def root_fingerprint(certificates: Certificates) -> str:
    """Returns the fingerprint of the root that has signed a server's certificate.

    Raises:
        ValueError: The roots that the server trusts are not above its own certificate.
    """
    issuers = {x509.read(encoded).issuer for encoded in x509.encodings(certificates.certificate_chain)}
    for encoded in x509.encodings(certificates.trust_bundle):
        if x509.read(encoded).subject in issuers:
            return _fingerprint(encoded)
    raise ValueError("no root of the trust bundle has signed the server's own certificate")


def pinned_roots(token: str, trust_bundle: bytes) -> bytes:
    """Returns the roots of a trust bundle that a token may be shown to, PEM; empty where there is none.

    Raises:
        ValueError: It is no token.
    """
    match = SHAPE.fullmatch(token)
    if match is None:
        raise ValueError(f"a join token is {PREFIX}, 43 letters and digits, and the authority's fingerprint")
    wanted = [encoded for encoded in x509.encodings(trust_bundle) if _fingerprint(encoded) == match["fingerprint"]]
    return "".join(map(ssl.DER_cert_to_PEM_cert, wanted)).encode()


def _fingerprint(encoded: bytes) -> str:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
    from cryptography.x509 import load_der_x509_certificate

    key = load_der_x509_certificate(encoded).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(key).digest()[:FINGERPRINT_BYTES].hex()
