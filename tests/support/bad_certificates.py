"""Certificates that nobody is to believe, each bad in one way and good in every other: as an attacker or a clumsy authority makes them."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from parade.wire.certificates import Certificates
from parade.wire.identity import Identity
from tests.support.certificates import Authority

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey | dsa.DSAPrivateKey

HOUR: Final = timedelta(hours=1)
PURPOSES: Final = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)


@dataclass(frozen=True)
class Signer:
    """Who signs: a root, or what plays at being one."""

    key: PrivateKey
    certificate: x509.Certificate
    chain: bytes = b""
    """What stands between it and the root, PEM; it goes along with what it signs."""

    @classmethod
    def of(cls, authority: Authority) -> "Signer":
        """Returns an authority's root."""
        key = serialization.load_pem_private_key(authority.ca.private_key(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        return cls(key, x509.load_pem_x509_certificate(authority.trust_bundle))


@dataclass(frozen=True)
class Draft:
    """A certificate to be: good where nothing is changed in it."""

    uris: tuple[str, ...]
    dns_names: tuple[str, ...] = ()
    not_before: datetime = field(default_factory=lambda: datetime.now(UTC) - HOUR)
    not_after: datetime = field(default_factory=lambda: datetime.now(UTC) + HOUR)
    purposes: tuple[x509.ObjectIdentifier, ...] = PURPOSES
    is_authority: bool = False
    key: PrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    serial: int = field(default_factory=x509.random_serial_number)
    subject_key: bool = False
    """Whether it names its own key, as an authority does."""
    authority_key: bytes | None = None
    """The identifier of the signer's key, where another is claimed than it has."""
    subject: x509.Name = field(default_factory=lambda: x509.Name([]))

    @classmethod
    def of(cls, identity: Identity) -> "Draft":
        """Returns a draft of a good certificate."""
        return cls((identity.uri,), (identity.server_name,))

    def signed(self, signer: Signer | None) -> x509.Certificate:
        """Signs it; without a signer, by itself."""
        key = self.key if signer is None else signer.key
        builder = (
            x509.CertificateBuilder()
            .subject_name(self.subject)
            .issuer_name(self.subject if signer is None else signer.certificate.subject)
            .public_key(self.key.public_key())
            .serial_number(self.serial)
            .not_valid_before(self.not_before)
            .not_valid_after(self.not_after)
            .add_extension(x509.BasicConstraints(self.is_authority, 0 if self.is_authority else None), critical=True)
            .add_extension(_key_usage(signs=self.is_authority), critical=True)
        )
        if self.purposes:
            builder = builder.add_extension(x509.ExtendedKeyUsage(self.purposes), critical=False)
        if names := [*map(x509.UniformResourceIdentifier, self.uris), *map(x509.DNSName, self.dns_names)]:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=True)
        if self.subject_key:
            builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), critical=False)
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())
        if self.authority_key is not None:
            identifier = x509.AuthorityKeyIdentifier(self.authority_key or None, None, None)
        if self.authority_key != b"":
            builder = builder.add_extension(identifier, critical=False)
        return builder.sign(key, None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256())

    def certificates(self, signer: Signer | None, trust_bundle: bytes) -> Certificates:
        """Signs it and puts it beside its key."""
        chain = pem(self.signed(signer)) + (b"" if signer is None else signer.chain)
        return Certificates(trust_bundle, chain, private_pem(self.key))


SIGNERS: Final[dict[str, Callable[[Signer], Signer | None]]] = {
    "a stranger's authority": lambda _: _authority(None, "somebody else"),
    "a stranger's authority of the same name": lambda root: _authority(None, root.certificate.subject),
    "self-signed": lambda _: None,
    "signed by a leaf": lambda root: _authority(root, "a leaf", is_authority=False),
    "below a subordinate authority": lambda root: _authority(root, "a subordinate"),
    "below an authority that names no key": lambda root: _authority(root, "a subordinate", subject_key=False),
}
"""Who signs instead of the mesh's root, by what is wrong."""

CHANGES: Final[dict[str, Callable[[Signer, Identity], dict[str, Any]]]] = {
    "expired": lambda *_: {"not_after": datetime.now(UTC) - timedelta(minutes=1)},
    "not yet valid": lambda *_: {"not_before": datetime.now(UTC) + timedelta(minutes=30)},
    "a stranger's authority of the same name": lambda root, _: {"authority_key": _key_identifier(root.certificate)},
    "below an authority that names no key": lambda root, _: {"authority_key": _key_identifier(root.certificate)},
    "for servers only": lambda *_: {"purposes": (ExtendedKeyUsageOID.SERVER_AUTH,)},
    "for signing code": lambda *_: {"purposes": (ExtendedKeyUsageOID.CODE_SIGNING,)},
    "for nothing in particular": lambda *_: {"purposes": ()},
    "an authority's own": lambda *_: {"is_authority": True},
    "without an id": lambda *_: {"uris": (), "dns_names": ()},
    "two ids": lambda _, identity: {"uris": (identity.uri, Identity.service("gateway").uri)},
    "malformed id": lambda _, identity: {"uris": (f"{identity.uri}/../../service/gateway",)},
    "another domain's": lambda _, identity: {"uris": (replace(identity, domain="elsewhere.local").uri,)},
    "weak key": lambda *_: {"key": rsa.generate_private_key(65537, 1024)},  # noqa: S505  # weak on purpose
}
"""What is changed in a good certificate, by what is wrong."""

KINDS: Final = tuple({**CHANGES, **SIGNERS})
"""What can be wrong with a certificate."""


def bad(kind: str, authority: Authority, identity: Identity) -> Certificates:
    """Makes a certificate that is bad in one way.

    Args:
        kind: One of `KINDS`.
        authority: The mesh's, whose root it claims.
        identity: Who it claims to be.
    """
    root = Signer.of(authority)
    changes = CHANGES[kind](root, identity) if kind in CHANGES else {}
    signer = SIGNERS[kind](root) if kind in SIGNERS else root
    return replace(Draft.of(identity), **changes).certificates(signer, authority.trust_bundle)


def pem(certificate: x509.Certificate) -> bytes:
    """Returns a certificate as PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def private_pem(key: PrivateKey) -> bytes:
    """Returns a key as PEM."""
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def _authority(above: Signer | None, name: str | x509.Name, *, is_authority: bool = True, subject_key: bool = True) -> Signer:
    subject = name if isinstance(name, x509.Name) else _name(name)
    draft = Draft((), subject=subject, is_authority=is_authority, purposes=(), subject_key=subject_key)
    certificate = draft.signed(above)
    return Signer(draft.key, certificate, b"" if above is None else pem(certificate))


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _key_identifier(certificate: x509.Certificate) -> bytes:
    return certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest


def _key_usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
