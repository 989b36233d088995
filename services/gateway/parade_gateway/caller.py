"""Who asks over HTTP, as its key has proved: what goes with every request that is made for it."""

from dataclasses import dataclass, field

from parade.v1 import call_pb2
from parade.wire.metadata import on_behalf_of
from parade.wire.role_numbers import number_of
from parade.wire.roles import Role


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody outside the mesh."""

    principal: str
    """Its subject, for example `key:<id>`."""
    namespace: str
    """The namespace that its requests act in."""
    role: Role
    """What it may do there."""
    metadata: tuple[tuple[str, str], ...] = field(init=False, repr=False, compare=False)
    """What says for whom a request is made."""
    origin: call_pb2.CallOrigin = field(init=False, repr=False, compare=False)
    """What says for whom a call is made."""

    def __post_init__(self) -> None:
        """Makes what follows from the rest."""
        object.__setattr__(self, "metadata", on_behalf_of(self.namespace, self.principal, self.role))
        origin = call_pb2.CallOrigin(namespace=self.namespace, principal=self.principal, role=number_of(self.role))
        object.__setattr__(self, "origin", origin)
