"""A certificate authority: one root that signs certificates of an hour to a month. On Kubernetes cert-manager stands in its place.

It stands here, and not with the services, for the command line makes authorities too: `parade cert` works where no service is installed.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol, Self

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from parade.wire.errors import ParadeError, Reason, Violation
from parade.wire.files import FileGroup
from parade.wire.identity import Identity

ROOT_LIFETIME = timedelta(days=3650)
CLOCK_SKEW = timedelta(minutes=5)
"""How far before now a certificate starts, for peers whose clocks are behind."""
MAX_NAME = 64
"""The longest part of a certificate's name, in characters (RFC 5280, upper bounds of X.520 attributes)."""


@dataclass(frozen=True, slots=True)
class Issued:
    """A signed certificate."""

    chain: bytes
    """The certificate, PEM."""
    expires: datetime


class Issuer(Protocol):
    """Who signs certificates."""

    @property
    def trust_bundle(self) -> bytes:
        """The root certificate, PEM."""
        ...

    def issue(self, request: bytes, identity: Identity, lifetime: timedelta, now: datetime) -> Issued:
        """Signs a certificate; see `CertificateAuthority.issue`."""
        ...


class CertificateAuthority:
    """A root key and its certificate."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
        """Takes the root; see `create` and `load`."""
        self._key = key
        self._certificate = certificate

    @classmethod
    def create(cls, domain: str, now: datetime) -> Self:
        """Makes a new root for a trust domain."""
        key = ec.generate_private_key(ec.SECP256R1())
        # Roots of one domain have different names, so that nobody takes one for another where both are trusted.
        key_id = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        name = x509.Name(
            [
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, domain[:MAX_NAME]),
                x509.NameAttribute(NameOID.COMMON_NAME, f"Parade root {key_id.digest.hex()[:8]}"),
            ]
        )
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - CLOCK_SKEW)
            .not_valid_after(now + ROOT_LIFETIME)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(signs_certificates=True), critical=True)
            .add_extension(key_id, critical=False)
            .sign(key, hashes.SHA256())
        )
        return cls(key, certificate)

    @classmethod
    def load(cls, key: bytes, certificate: bytes) -> Self:
        """Reads a root from PEM.

        Args:
            key: Its key.
            certificate: Its certificate. There may be others beside it, as in a trust bundle: that of the key is taken.

        Raises:
            ValueError: The key is not one of an elliptic curve, or no certificate is of it.
        """
        loaded = serialization.load_pem_private_key(key, None)
        if not isinstance(loaded, ec.EllipticCurvePrivateKey):
            raise ValueError("the authority's key is not an elliptic-curve key")
        public = loaded.public_key()
        found = [one for one in x509.load_pem_x509_certificates(certificate) if one.public_key() == public]
        if not found:
            raise ValueError("the authority's key does not belong to its certificate")
        return cls(loaded, found[0])

    @property
    def trust_bundle(self) -> bytes:
        """The root certificate, PEM."""
        return self._certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def expires(self) -> datetime:
        """When the root ends, and all that it has signed with it."""
        return self._certificate.not_valid_after_utc

    def private_key(self) -> bytes:
        """Returns the root's key, PEM: for the file that only its owner can read."""
        return self._key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())

    def issue(self, request: bytes, identity: Identity, lifetime: timedelta, now: datetime) -> Issued:
        """Signs a certificate for the public key of a signing request. What the request says of its holder is not looked at.

        Args:
            request: The signing request, PEM.
            identity: Who the holder is.
            lifetime: How long the certificate is good; no longer than the root itself.
            now: The time.

        Raises:
            ParadeError: INVALID_ARGUMENTS where the request is not one, or not signed by its own P-256 key.
        """
        public_key = _public_key(request)
        expires = min(now + lifetime, self.expires)
        names: list[x509.GeneralName] = [
            x509.UniformResourceIdentifier(identity.uri),
            x509.DNSName(identity.server_name),
        ]
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(self._certificate.subject)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - CLOCK_SKEW)
            .not_valid_after(expires)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
            .add_extension(x509.SubjectAlternativeName(names), critical=True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return Issued(certificate.public_bytes(serialization.Encoding.PEM), expires)


class FileAuthority:
    """An authority in two files that are read again when they have changed, whoever wrote them: so another root may take its place."""

    def __init__(self, key: Path, certificate: Path) -> None:
        """Reads the files.

        Raises:
            OSError: A file cannot be read.
            ValueError: They hold no key and its certificate.
        """
        self._files = FileGroup(key, certificate)
        self._stamp, contents = self._files.read()
        self._authority = CertificateAuthority.load(*contents)

    @property
    def trust_bundle(self) -> bytes:
        """The root certificate that signs now, PEM."""
        return self._current().trust_bundle

    def issue(self, request: bytes, identity: Identity, lifetime: timedelta, now: datetime) -> Issued:
        """Signs as `CertificateAuthority.issue` does."""
        return self._current().issue(request, identity, lifetime, now)

    def _current(self) -> CertificateAuthority:
        """Returns what the files hold. While they are being replaced, and do not fit together yet, what they held before."""
        try:
            if self._files.stamp() != self._stamp:
                stamp, contents = self._files.read()
                self._authority, self._stamp = CertificateAuthority.load(*contents), stamp
        except (OSError, ValueError):
            return self._authority
        return self._authority


def fingerprint(request: bytes) -> str:
    """Returns the SHA-256 of a signing request's public key, in hexadecimal digits: it tells whether two requests are of one holder.

    Raises:
        ParadeError: INVALID_ARGUMENTS as `CertificateAuthority.issue`.
    """
    encoded = _public_key(request).public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(encoded).hexdigest()


def _public_key(request: bytes) -> ec.EllipticCurvePublicKey:
    try:
        parsed = x509.load_pem_x509_csr(request)
        valid = parsed.is_signature_valid
        key = parsed.public_key()
    except (ValueError, InvalidSignature) as error:
        raise _bad_request("is no certificate signing request in PEM") from error
    if not valid:
        raise _bad_request("is not signed by its own key")
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise _bad_request("has a key that is not P-256")
    return key


def _bad_request(fault: str) -> ParadeError:
    return ParadeError(Reason.INVALID_ARGUMENTS, "the signing request is not usable", violations=[Violation("csr", fault)])


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
