"""The certificates of a mesh on one machine: a development root, one certificate a service, one for the user's client.

Run as a process of its own, `python -m parade_local.certificates FOLDER DOMAIN NAMESPACE`: the supervisor needs none of it while it waits.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from parade.wire.certificates import new_key_and_request, write_private
from parade.wire.identity import Identity
from parade_local.services import SERVICES, certificate_path, key_path

if TYPE_CHECKING:
    from parade_chassis.ca import CertificateAuthority

LIFETIME = timedelta(days=30)
CLIENT = "developer"
"""The name of the user's client."""


def are_fresh(folder: Path, now: datetime) -> bool:
    """Returns whether every certificate is there and before half of its life."""
    paths = [certificate_path(folder, "ca"), key_path(folder, "ca")]
    for name in (*(service.name for service in SERVICES), "client"):
        paths += [certificate_path(folder, name), key_path(folder, name)]
    try:
        oldest = min(path.stat().st_mtime for path in paths[2:])
        return all(path.stat().st_size > 0 for path in paths) and now.timestamp() - oldest < LIFETIME.total_seconds() / 2
    except OSError:
        return False


def write_all(folder: Path, domain: str, namespace: str, now: datetime) -> None:
    """Makes the root where there is none, and every other certificate anew. Running services take them up by themselves."""
    certificate_path(folder, "").parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    authority = _authority(folder, domain, now)
    identities = {service.name: Identity.service(service.name, domain) for service in SERVICES}
    identities["client"] = Identity.client(CLIENT, namespace, domain)
    for name, identity in identities.items():
        key, request = new_key_and_request()
        write_private(key_path(folder, name), key)
        write_private(certificate_path(folder, name), authority.issue(request, identity, LIFETIME, now).chain)


def _authority(folder: Path, domain: str, now: datetime) -> CertificateAuthority:
    from parade_chassis.ca import CertificateAuthority  # the supervisor asks what is fresh, and needs no cryptography for that

    certificate, key = certificate_path(folder, "ca"), key_path(folder, "ca")
    if certificate.exists() and key.exists():
        return CertificateAuthority.load(key.read_bytes(), certificate.read_bytes())
    authority = CertificateAuthority.create(domain, now)
    write_private(key, authority.private_key())
    write_private(certificate, authority.trust_bundle)
    return authority


if __name__ == "__main__":
    write_all(Path(sys.argv[1]), sys.argv[2], sys.argv[3], datetime.now(UTC))
