"""The certificates of a mesh on one machine: an authority, one certificate a service, one for the user's client, good for an hour each.

Run as a process of its own, `python -m parade_local.certificates FOLDER DOMAIN NAMESPACE`: the supervisor needs none of it while it waits.
"""

import sys
from datetime import UTC, datetime
from pathlib import Path

from parade.wire import authority, x509
from parade.wire.authority import DEFAULT_LIFETIME, State
from parade.wire.errors import ParadeError
from parade.wire.identity import Identity
from parade_local.services import CLIENT, SERVICES, certificate_path, certificates_folder, key_path


def are_fresh(folder: Path, now: datetime) -> bool:
    """Returns whether nothing is to be done: every certificate is there and before half of its life, and no step of a rotation is due."""
    try:
        state = State.read(certificates_folder(folder))
        left = min(_end(certificate_path(folder, name)) for name in _names() if key_path(folder, name).stat().st_size)
    except (OSError, ValueError, ParadeError):
        return False
    return left - now.timestamp() > DEFAULT_LIFETIME.total_seconds() / 2 and (state.due is None or now < state.due)


def write_all(folder: Path, domain: str, namespace: str, now: datetime) -> None:
    """Makes the authority where there is none, and every certificate anew. Running services take them up by themselves."""
    certificates = certificates_folder(folder)
    try:
        authority.advance(certificates, now)
    except ParadeError:
        authority.create(certificates, domain, DEFAULT_LIFETIME, now)
    identities = {service.name: Identity.service(service.name, domain) for service in SERVICES}
    identities["client"] = Identity.client(CLIENT, namespace, domain)
    authority.issue(certificates, identities, DEFAULT_LIFETIME, now)


def _names() -> list[str]:
    return [*(service.name for service in SERVICES), "client"]


def _end(certificate: Path) -> float:
    first, *_ = x509.encodings(certificate.read_bytes())
    return x509.read(first).not_after


if __name__ == "__main__":
    write_all(Path(sys.argv[1]), sys.argv[2], sys.argv[3], datetime.now(UTC))
