"""Certificates and where they come from: files or memory. It makes keys and signing requests; it signs nothing."""

import os
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from parade.wire.files import FileGroup
from parade.wire.key_pair import require_pair
from parade.wire.x509 import encodings


@dataclass(frozen=True, slots=True)
class Certificates:
    """A process's own certificate with its key, and the roots that it trusts; all PEM."""

    trust_bundle: bytes
    certificate_chain: bytes
    private_key: bytes

    def __repr__(self) -> str:
        """Returns a text without the key."""
        return "Certificates(…)"


class CertificateSource(Protocol):
    """Where the certificates of a process come from."""

    def current(self) -> Certificates:
        """Returns the newest certificates: the same object as before where nothing has changed."""
        ...


class MemorySource:
    """Certificates that are held in memory only, as an agent does."""

    def __init__(self, certificates: Certificates) -> None:
        """Holds `certificates` until others are put in their place."""
        self._certificates = certificates

    def current(self) -> Certificates:
        """Returns the certificates that were put last."""
        return self._certificates

    def replace(self, certificates: Certificates) -> None:
        """Puts new certificates in place of the old."""
        self._certificates = certificates


class FileSource:
    """Certificates in three files, read again when one of them has changed, whoever wrote them and in whichever order."""

    def __init__(self, trust_bundle: Path, certificate_chain: Path, private_key: Path) -> None:
        """Reads the files.

        Raises:
            OSError: A file cannot be read.
            ValueError: Certificate and key are none, or do not belong together.
        """
        self._files = FileGroup(trust_bundle, certificate_chain, private_key)
        self._reading = threading.Lock()
        self._stamp, contents = self._files.read()
        self._certificates = _fitting(contents)

    def current(self) -> Certificates:
        """Returns what the files hold. While they are being replaced, and do not fit together yet, what they held before."""
        try:
            if self._files.stamp() != self._stamp:
                self._read()
        except (OSError, ValueError):
            return self._certificates
        return self._certificates

    def _read(self) -> None:
        # gRPC and the exporters of telemetry look from threads of their own.
        with self._reading:
            stamp, contents = self._files.read()
            newest = _fitting(contents)
            if newest != self._certificates:  # who only writes them anew, as they were, costs nobody a connection
                self._certificates = newest
            self._stamp = stamp


def _fitting(contents: tuple[bytes, ...]) -> Certificates:
    certificates = Certificates(*contents)
    require_pair(certificates.certificate_chain, certificates.private_key)
    return certificates


def roots_in(trust_bundle: bytes) -> frozenset[bytes]:
    """Returns the certificates of a trust bundle, in DER; none where it cannot be read."""
    try:
        return frozenset(encodings(trust_bundle))
    except ValueError:
        return frozenset()


def new_key_and_request() -> tuple[bytes, bytes]:
    """Makes a P-256 key and a certificate signing request for it; both PEM.

    The request names nobody: who its holder is, the authority knows from the token or the certificate that came with it.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    encoded = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return encoded, request.public_bytes(serialization.Encoding.PEM)


def write_private(path: Path, content: bytes) -> None:
    """Writes a file that only its owner can read, at once or not at all."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
