"""Which processes make a mesh, where each listens and what each is told."""

from dataclasses import dataclass
from pathlib import Path

from parade.wire.mesh_file import MeshFile

DRAIN_TIMEOUT = 2
"""Seconds that requests under way may still take when the mesh is stopped."""


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
    Service("monitor", stores=True),
    Service("agent_manager", stores=True),
    Service("dispatcher", ("agent_manager",)),
    Service("scheduler", ("dispatcher", "agent_manager"), stores=True),
    Service("gateway", ("agent_manager", "dispatcher", "scheduler")),
)
"""The processes of a mesh. The monitor is first to start and last to stop, so that it hears the others' last words."""


def settings(service: Service, mesh: MeshFile, log_level: str) -> dict[str, str]:
    """Returns the environment that tells a service what it must know."""
    folder = mesh.folder
    prefix = f"PARADE_{service.name.upper()}_"
    told = {
        "LISTEN": mesh.services[service.name],
        "DOMAIN": mesh.domain,
        "TRUST_BUNDLE": str(folder / mesh.trust_bundle),
        "CERTIFICATE": str(certificate_path(folder, service.name)),
        "PRIVATE_KEY": str(key_path(folder, service.name)),
        "INSTANCE_ID": f"{service.name}-0",
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
            "CA_CERTIFICATE": str(folder / mesh.trust_bundle),
            "CA_PRIVATE_KEY": str(key_path(folder, "ca")),
        }
    if service.name == "gateway":
        told |= {"REST_LISTEN": mesh.rest.removeprefix("http://"), "API_KEY_FILE": str(folder / mesh.api_key), "NAMESPACE": mesh.namespace}
    return {prefix + key: value for key, value in told.items()}


def certificate_path(folder: Path, name: str) -> Path:
    """Returns where a certificate lies."""
    return folder / "certificates" / f"{name}.pem"


def key_path(folder: Path, name: str) -> Path:
    """Returns where a certificate's key lies."""
    return folder / "certificates" / f"{name}.key"
