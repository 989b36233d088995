"""An authority for tests: certificates for anybody, good ones and bad ones."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from parade.wire.ca import CertificateAuthority
from parade.wire.certificates import Certificates, MemorySource, new_key_and_request, write_private
from parade.wire.channel import Channel
from parade.wire.identity import DEFAULT_DOMAIN, Identity


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """Where a process finds its certificates; all PEM."""

    trust_bundle: Path
    certificate: Path
    private_key: Path


LIFETIME = timedelta(hours=12)
"""Of a certificate; longer than a test moves its clock."""


class Authority:
    """A root of its own, that signs for whoever a test asks it to."""

    def __init__(self, folder: Path, domain: str = DEFAULT_DOMAIN) -> None:
        """Makes a new root; `folder` is where files are written that processes read."""
        self.folder = folder
        self.ca = CertificateAuthority.create(domain, datetime.now(UTC))

    @property
    def trust_bundle(self) -> bytes:
        """The root, PEM."""
        return self.ca.trust_bundle

    def certificates(self, identity: Identity, *, lifetime: timedelta = LIFETIME, trust_bundle: bytes | None = None) -> Certificates:
        """Makes a key and a certificate.

        Args:
            identity: Who the holder is.
            lifetime: How long from now the certificate is good; a negative one makes a certificate that has expired.
            trust_bundle: What the holder trusts; this authority's root where not given.
        """
        key, request = new_key_and_request()
        # An expired certificate starts a day ago, so that its beginning lies before its end.
        start = datetime.now(UTC) - (timedelta(days=1) if lifetime < timedelta() else timedelta())
        chain = self.ca.issue(request, identity, datetime.now(UTC) + lifetime - start, start).chain
        return Certificates(self.trust_bundle if trust_bundle is None else trust_bundle, chain, key)

    def source(self, identity: Identity, *, trust_bundle: bytes | None = None) -> MemorySource:
        """Makes certificates and holds them in memory."""
        return MemorySource(self.certificates(identity, trust_bundle=trust_bundle))

    def expired(self, identity: Identity) -> MemorySource:
        """Makes a certificate that ended a minute ago."""
        return MemorySource(self.certificates(identity, lifetime=timedelta(minutes=-1)))

    def files(
        self, identity: Identity, *, lifetime: timedelta = LIFETIME, trust_bundle: bytes | None = None, folder: Path | None = None
    ) -> CertificateFiles:
        """Makes certificates and writes them, over those that were written for the same identity before.

        Args:
            identity: Who the holder is.
            lifetime: How long from now the certificate is good.
            trust_bundle: What the holder trusts; this authority's root where not given.
            folder: Where to; this authority's folder where not given.
        """
        made = self.certificates(identity, lifetime=lifetime, trust_bundle=trust_bundle)
        stem, folder = identity.server_name, folder or self.folder
        files = CertificateFiles(folder / f"{stem}.ca.pem", folder / f"{stem}.crt.pem", folder / f"{stem}.key.pem")
        folder.mkdir(parents=True, exist_ok=True)
        write_private(files.trust_bundle, made.trust_bundle)
        write_private(files.private_key, made.private_key)
        write_private(files.certificate, made.certificate_chain)
        return files

    def root_files(self) -> tuple[Path, Path]:
        """Writes the root and returns where: its certificate and its key."""
        certificate, key = self.folder / "root.crt.pem", self.folder / "root.key.pem"
        self.folder.mkdir(parents=True, exist_ok=True)
        write_private(certificate, self.trust_bundle)
        write_private(key, self.ca.private_key())
        return certificate, key

    def channel(self, address: str, caller: Identity, service: str) -> Channel:
        """Returns a channel on which `caller` reaches a service; its user closes it."""
        return Channel(address, self.source(caller), Identity.service(service, caller.domain).server_name, peer=service)
