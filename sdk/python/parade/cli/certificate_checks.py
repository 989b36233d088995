"""Are certificates good: a pair with their key, signed by a root that is trusted, of this time, and such as services believe.

Services believe a certificate by the rules of `parade.wire.peer`, after TLS has looked at signatures and times. Here both are done.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding

from parade.cli.finding import Finding
from parade.wire.errors import ParadeError
from parade.wire.key_pair import require_pair
from parade.wire.mesh_file import MeshFile
from parade.wire.peer import CERTIFICATE, authorities, believed

CHECK = "certificates"
_ANEW = "Start the mesh anew with `parade dev`, which makes new ones, or ask who runs it."


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a certificate is not good."""

    rule: str
    """The rule that it breaks: `key`, `signature`, `time`, or one of `parade.wire.peer.Refusal`."""
    text: str


def certificate_finding(mesh_file: MeshFile, now: datetime | None = None) -> Finding:
    """Returns what is to be said of a mesh file's certificates.

    Args:
        mesh_file: The mesh file that names them.
        now: The time to judge them by; the present where not given.
    """
    try:
        held = mesh_file.certificates().current()
        end = x509.load_pem_x509_certificate(held.certificate_chain).not_valid_after_utc
        fault = fault_of(held.certificate_chain, held.trust_bundle, mesh_file.domain, now or datetime.now(UTC), held.private_key)
    except ParadeError as error:
        return Finding(CHECK, ok=False, detail=error.message, advice=_ANEW)
    except ValueError as error:
        return Finding(
            CHECK, ok=False, detail=f"not readable: {error}", advice="Delete the folder of certificates and start the mesh anew."
        )
    if fault is not None:
        return Finding(CHECK, ok=False, detail=fault.text, advice=_ANEW)
    return Finding(CHECK, ok=True, detail=f"good until {end:%Y-%m-%d %H:%M} UTC")


def fault_of(chain: bytes, trust_bundle: bytes, domain: str, now: datetime, key: bytes | None = None) -> Fault | None:
    """Returns what is wrong with a certificate; None where nothing is.

    Args:
        chain: The certificate, and those that lead to a root, PEM.
        trust_bundle: The roots to trust, PEM.
        domain: The trust domain that it must be of.
        now: The time to judge it by.
        key: Its private key, PEM; None where that is not to be looked at.

    Raises:
        ValueError: The certificate or the roots cannot be read.
    """
    certificates = x509.load_pem_x509_certificates(chain)
    roots = x509.load_pem_x509_certificates(trust_bundle)
    if key is not None:
        try:
            require_pair(chain, key)
        except ValueError as error:
            return Fault("key", str(error))
    signers = [root for root in roots if _signed_by(certificates[-1], root)]
    return (
        _signature_fault(certificates, signers, len(roots))
        or _time_fault(certificates, signers, now)
        or _belief_fault(certificates[0], trust_bundle, domain, now)
    )


def _signature_fault(chain: list[x509.Certificate], signers: list[x509.Certificate], roots: int) -> Fault | None:
    for number, (certificate, above) in enumerate(pairwise(chain), start=2):
        if not _signed_by(certificate, above):
            return Fault("signature", f"certificate {number} of the file has not signed the one before it")
    if not signers:
        which = "the root that is trusted" if roots == 1 else f"any of the {roots} roots that are trusted"
        return Fault("signature", f"the certificate was not signed by {which}")
    return None


def _time_fault(chain: list[x509.Certificate], signers: list[x509.Certificate], now: datetime) -> Fault | None:
    # Of several roots one may have ended: it is enough that one that has signed is good.
    for name, among in (("certificate", chain[:1]), *(("intermediate certificate", [one]) for one in chain[1:]), ("root", signers)):
        if any(one.not_valid_before_utc <= now <= one.not_valid_after_utc for one in among):
            continue
        if now > among[0].not_valid_after_utc:
            return Fault("time", f"the {name} expired at {among[0].not_valid_after_utc:%Y-%m-%d %H:%M} UTC")
        return Fault("time", f"the {name} is good only from {among[0].not_valid_before_utc:%Y-%m-%d %H:%M} UTC; is the clock right?")
    return None


def _belief_fault(certificate: x509.Certificate, trust_bundle: bytes, domain: str, now: datetime) -> Fault | None:
    try:
        believed(certificate.public_bytes(Encoding.PEM), domain, authorities(trust_bundle), now.timestamp())
    except ParadeError as error:
        return Fault(error.metadata[CERTIFICATE], error.message)
    return None


def _signed_by(certificate: x509.Certificate, root: x509.Certificate) -> bool:
    if certificate == root:
        return True
    try:
        certificate.verify_directly_issued_by(root)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True
