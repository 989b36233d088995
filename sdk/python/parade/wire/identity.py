"""Who is who: SPIFFE ids, the DNS names beside them, and the kinds of caller. Reads and writes names; proves nothing (see `tls`).

Source of the id format: SPIFFE-ID specification, https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE-ID.md.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

DEFAULT_DOMAIN = "parade.local"
DEFAULT_NAMESPACE = "default"

NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")
"""Names of agents, namespaces and clients: short enough to be a DNS label beside others."""


class Kind(StrEnum):
    """What a caller is: the names of `parade.v1.CallerKind` without their prefix."""

    ANONYMOUS = "ANONYMOUS"
    CLIENT = "CLIENT"
    AGENT = "AGENT"
    AGENT_MANAGER = "AGENT_MANAGER"
    DISPATCHER = "DISPATCHER"
    SCHEDULER = "SCHEDULER"
    GATEWAY = "GATEWAY"
    MONITOR = "MONITOR"


SERVICES = {
    "agent_manager": Kind.AGENT_MANAGER,
    "dispatcher": Kind.DISPATCHER,
    "scheduler": Kind.SCHEDULER,
    "gateway": Kind.GATEWAY,
    "monitor": Kind.MONITOR,
}
"""The services by the name in their certificates."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A verified name: what a certificate says its holder is."""

    kind: Kind
    domain: str = DEFAULT_DOMAIN
    namespace: str = ""
    """The namespace; empty for services, which belong to none."""
    name: str = ""
    """The agent's, client's or service's name."""
    instance: str = ""
    """The instance id, for agents."""

    @classmethod
    def service(cls, name: str, domain: str = DEFAULT_DOMAIN) -> Self:
        """Returns the identity of a service, for example `agent_manager`."""
        return cls(SERVICES[name], domain, name=name)

    @classmethod
    def client(cls, name: str, namespace: str = DEFAULT_NAMESPACE, domain: str = DEFAULT_DOMAIN) -> Self:
        """Returns the identity of a client."""
        return cls(Kind.CLIENT, domain, namespace, name)

    @classmethod
    def agent(cls, name: str, instance: str, namespace: str = DEFAULT_NAMESPACE, domain: str = DEFAULT_DOMAIN) -> Self:
        """Returns the identity of an agent's instance."""
        return cls(Kind.AGENT, domain, namespace, name, instance)

    @classmethod
    def parse(cls, uri: str) -> Self | None:
        """Reads a SPIFFE id; None where it is not one of ours."""
        match = re.fullmatch(r"spiffe://([a-z0-9._-]{1,255})/(.{1,1024})", uri)
        if match is None:
            return None
        domain, path = match.groups()
        match path.split("/"):
            case ["service", name] if name in SERVICES:
                return cls(SERVICES[name], domain, name=name)
            case ["ns", namespace, "client", name] if _named(namespace, name):
                return cls(Kind.CLIENT, domain, namespace, name)
            case ["ns", namespace, "agent", name, instance] if _named(namespace, name, instance):
                return cls(Kind.AGENT, domain, namespace, name, instance)
        return None

    @property
    def uri(self) -> str:
        """The SPIFFE id; empty for the anonymous."""
        match self.kind:
            case Kind.ANONYMOUS:
                return ""
            case Kind.CLIENT:
                return f"spiffe://{self.domain}/ns/{self.namespace}/client/{self.name}"
            case Kind.AGENT:
                return f"spiffe://{self.domain}/ns/{self.namespace}/agent/{self.name}/{self.instance}"
        return f"spiffe://{self.domain}/service/{self.name}"

    @property
    def server_name(self) -> str:
        """The DNS name in the certificate, which a caller demands: gRPC for Python compares DNS names, not SPIFFE ids."""
        match self.kind:
            case Kind.AGENT:
                return f"{self.instance}.{self.name}.{self.namespace}.agent.{self.domain}"
            case Kind.CLIENT:
                return f"{self.name}.{self.namespace}.client.{self.domain}"
        return f"{self.name.replace('_', '-')}.{self.domain}"  # an underscore is not allowed in a host's name


ANONYMOUS = Identity(Kind.ANONYMOUS)
"""Whoever comes without a certificate."""


def _named(*names: str) -> bool:
    return all(NAME.fullmatch(name) for name in names)
