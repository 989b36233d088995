"""The certificate authority as services name it; it stands in `parade.wire.ca`."""

from parade.wire.ca import CertificateAuthority, FileAuthority, Issued, Issuer, fingerprint

__all__ = ["CertificateAuthority", "FileAuthority", "Issued", "Issuer", "fingerprint"]
