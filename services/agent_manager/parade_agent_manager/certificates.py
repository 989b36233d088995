"""Certificates and revocations between the contract and the model, both ways; pure."""

from parade.v1 import access_watch_pb2, certificate_pb2
from parade.wire.errors import Violation, invalid
from parade.wire.role_numbers import number_of
from parade_agent_manager.access_feed import AccessChange
from parade_agent_manager.certificate import CertificateState, KnownCertificate, Revocation
from parade_agent_manager.convert import to_timestamp
from parade_chassis.grants import Granted
from parade_chassis.policies import PolicyText
from parade_chassis.standing import LivingKey

SYNCED = access_watch_pb2.WatchAccessResponse(synced=access_watch_pb2.WatchAccessResponse.Synced())


def state(number: certificate_pb2.CertificateState.ValueType) -> CertificateState | None:
    """Reads which state is wanted; None where any is.

    Raises:
        ParadeError: INVALID_ARGUMENTS where there is no such state.
    """
    if number == certificate_pb2.CERTIFICATE_STATE_UNSPECIFIED:
        return None
    found = _STATES.get(number)
    if found is None:
        raise invalid([Violation("state", "is not known")])
    return found


def require_one_subject(request: certificate_pb2.RevokeCertificateRequest) -> None:
    """Holds that a request names a certificate or an identity.

    Raises:
        ParadeError: INVALID_ARGUMENTS where it names none, or both.
    """
    if bool(request.serial) == bool(request.spiffe_id):
        raise invalid([Violation("spiffe_id", "exactly one of serial and spiffe_id must be given")])


def to_certificate(known: KnownCertificate) -> certificate_pb2.Certificate:
    """Writes a certificate."""
    certificate = known.certificate
    return certificate_pb2.Certificate(
        serial=certificate.serial,
        spiffe_id=certificate.spiffe_id,
        state=certificate_pb2.CertificateState.Value(f"CERTIFICATE_STATE_{known.state}"),
        issue_time=to_timestamp(certificate.issued),
        expire_time=to_timestamp(certificate.expires),
        superseded_by=certificate.superseded_by,
        revocation=None if known.revocation is None else to_revocation(known.revocation),
    )


def to_revocation(revocation: Revocation) -> certificate_pb2.Revocation:
    """Writes a revocation."""
    return certificate_pb2.Revocation(
        **{"spiffe_id" if revocation.of_identity else "serial": revocation.subject},
        revoke_time=to_timestamp(revocation.revoked),
        expire_time=to_timestamp(revocation.expires),
        reason=revocation.reason,
        revoked_by=revocation.by,
    )


def to_news(change: AccessChange) -> access_watch_pb2.WatchAccessResponse:
    """Writes what a watcher of access is told."""
    if isinstance(change, Granted):
        role = access_watch_pb2.ClientRole(subject=change.subject, namespace=change.namespace, role=number_of(change.role))
        return access_watch_pb2.WatchAccessResponse(client_role=role)
    if isinstance(change, LivingKey):
        return access_watch_pb2.WatchAccessResponse(living_key=_to_living_key(change))
    if isinstance(change, PolicyText):
        policy = access_watch_pb2.PolicyText(namespace=change.namespace, name=change.name, version=change.version, text=change.text)
        return access_watch_pb2.WatchAccessResponse(policy=policy)
    return access_watch_pb2.WatchAccessResponse(revocation=to_revocation(change))


def _to_living_key(key: LivingKey) -> access_watch_pb2.LivingKey:
    message = access_watch_pb2.LivingKey(id=key.id, namespace=key.namespace, role=number_of(key.role), created_by=key.created_by)
    message.expire_time.FromNanoseconds(round(key.expires * 1e6) * 1000)
    return message


_STATES = {certificate_pb2.CertificateState.Value(f"CERTIFICATE_STATE_{state}"): state for state in CertificateState}
