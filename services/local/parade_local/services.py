"""Which processes make a mesh, where each listens and what each is told."""

from dataclasses import dataclass
from pathlib import Path

from parade.wire.authority import DEFAULT_LIFETIME, ISSUER, ISSUER_KEY
from parade.wire.identity import Identity
from parade.wire.mesh_file import MeshFile

DRAIN_TIMEOUT = 2
"""Seconds that requests under way may still take when the mesh is stopped."""
CLIENT = "developer"
"""The name of the user's client, which is admin at first."""
SECRETS = "secrets"
"""The folder, within a mesh's, of the secrets that its workflows may use: `<namespace>/<name>`."""


@dataclass(frozen=True, slots=True)
class Service:
    """One process of the mesh."""

    name: str
    peers: tuple[str, ...] = ()
    """The services that it calls."""
    stores: bool = False
    """Whether it has a database."""

    @property
    def module(self) -> str:
        """What `python -m` runs."""
        return f"parade_{self.name}"


SERVICES = (
    Service("monitor", ("agent_manager",), stores=True),
    Service("agent_manager", stores=True),
    Service("dispatcher", ("agent_manager",), stores=True),
    Service("scheduler", ("dispatcher", "agent_manager"), stores=True),
    Service("gateway", ("agent_manager", "dispatcher", "scheduler")),
)
"""The services of a mesh. The monitor is first to start and last to stop, so that it hears the others' last words."""


@dataclass(frozen=True, slots=True)
class Replica:
    """One process of a service; all of its replicas share a certificate and a database."""

    service: Service
    number: int
    address: str
    """Where it listens: `host:port`."""
    label: str
    """What its log lines are headed with: its service, or its id where the service has several replicas."""

    @property
    def id(self) -> str:
        """For example `dispatcher-0`."""
        return f"{self.service.name}-{self.number}"


def replicas(mesh: MeshFile) -> list[Replica]:
    """Returns the processes of a mesh, in the order in which they start: one for each address of a service."""
    found: list[Replica] = []
    for service in SERVICES:
        addresses = mesh.services[service.name].split(",")
        for number, address in enumerate(addresses):
            label = service.name if len(addresses) == 1 else f"{service.name}-{number}"
            found.append(Replica(service, number, address, label))
    return found


def settings(replica: Replica, mesh: MeshFile, log_level: str) -> dict[str, str]:
    """Returns the environment that tells a process what it must know."""
    folder, service = mesh.folder, replica.service
    prefix = f"PARADE_{service.name.upper()}_"
    told = {
        "LISTEN": replica.address,
        "DOMAIN": mesh.domain,
        "TRUST_BUNDLE": str(folder / mesh.trust_bundle),
        "CERTIFICATE": str(certificate_path(folder, service.name)),
        "PRIVATE_KEY": str(key_path(folder, service.name)),
        "INSTANCE_ID": replica.id,
        "LOG_FORMAT": "console",
        "LOG_LEVEL": log_level,
        "DRAIN_TIMEOUT": str(DRAIN_TIMEOUT),
        "MONITOR": mesh.services["monitor"],
        **{peer.upper(): mesh.services[peer] for peer in service.peers},
    }
    if service.stores:
        told["DATABASE_URL"] = f"sqlite:///{folder / 'data' / service.name}.db"
    if service.name == "agent_manager":
        told |= {
            "ENROLMENT_LISTEN": mesh.enrolment,
            "INITIAL_ADMIN": Identity.client(CLIENT, mesh.namespace, mesh.domain).uri,
            "INITIAL_KEY_FILE": str(folder / mesh.api_key),
            "CA_CERTIFICATE": str(certificates_folder(folder) / ISSUER),
            "CA_PRIVATE_KEY": str(certificates_folder(folder) / ISSUER_KEY),
            # What the authority says, for a rotation waits until the certificates of instances have ended too.
            "CERTIFICATE_LIFETIME": str(DEFAULT_LIFETIME.total_seconds()),
        }
    if service.name == "scheduler":
        told["SECRETS"] = str(folder / SECRETS)
    if service.name == "gateway":
        told |= {
            "REST_LISTEN": mesh.rest.removeprefix("http://"),
            "ARTIFACTS": str(folder / "data" / "artifacts"),
        }
    return {prefix + key: value for key, value in told.items()}


def certificates_folder(folder: Path) -> Path:
    """Returns where the certificates of a mesh lie, and the authority that signs them."""
    return folder / "certificates"


def certificate_path(folder: Path, name: str) -> Path:
    """Returns where a certificate lies."""
    return certificates_folder(folder) / f"{name}.pem"


def key_path(folder: Path, name: str) -> Path:
    """Returns where a certificate's key lies."""
    return certificates_folder(folder) / f"{name}.key"
