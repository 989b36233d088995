"""Are the client's certificates good: readable, a pair with their key, signed by the root that they lie beside, and of this time."""

from datetime import UTC, datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization

from parade.cli.finding import Finding
from parade.wire.certificates import Certificates
from parade.wire.errors import ParadeError
from parade.wire.mesh_file import MeshFile

CHECK = "certificates"


def certificate_finding(mesh_file: MeshFile, now: datetime | None = None) -> Finding:
    """Returns what is to be said of a mesh file's certificates.

    Args:
        mesh_file: The mesh file that names them.
        now: The time to judge them by; the present where not given.
    """
    try:
        certificates = mesh_file.certificates().current()
        chain = x509.load_pem_x509_certificates(certificates.certificate_chain)
        roots = x509.load_pem_x509_certificates(certificates.trust_bundle)
        fault = _fault(chain, roots, certificates, now or datetime.now(UTC))
    except ParadeError as error:
        return Finding(CHECK, ok=False, detail=error.message, advice="Start the mesh anew with `parade dev`, which makes what is missing.")
    except ValueError as error:
        return Finding(
            CHECK, ok=False, detail=f"not readable: {error}", advice="Delete the folder of certificates and start the mesh anew."
        )
    if fault:
        return Finding(
            CHECK, ok=False, detail=fault, advice="Start the mesh anew with `parade dev`, which makes new ones, or ask who runs it."
        )
    return Finding(CHECK, ok=True, detail=f"good until {chain[0].not_valid_after_utc:%Y-%m-%d %H:%M} UTC")


def _fault(chain: list[x509.Certificate], roots: list[x509.Certificate], certificates: Certificates, now: datetime) -> str:
    for name, certificate in (("certificate", chain[0]), *(("root", root) for root in roots)):
        if now > certificate.not_valid_after_utc:
            return f"the {name} expired at {certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"
        if now < certificate.not_valid_before_utc:
            return f"the {name} is good only from {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC; is the clock right?"
    key = serialization.load_pem_private_key(certificates.private_key, None)
    if key.public_key() != chain[0].public_key():
        return "the private key does not belong to the certificate"
    if not any(_signed_by(chain[-1], root) for root in roots):
        return "the certificate was not signed by the root that is trusted"
    return ""


def _signed_by(certificate: x509.Certificate, root: x509.Certificate) -> bool:
    if certificate == root:
        return True
    try:
        certificate.verify_directly_issued_by(root)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True
