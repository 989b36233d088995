"""Calls as a dispatcher hands them to agents: each with a mandate that a dispatcher's certificate has signed."""

from typing import Any

from parade.v1 import call_pb2
from parade.wire.certificates import CertificateSource
from parade.wire.identity import Identity
from parade.wire.mandate import WHOLE, Scope
from parade.wire.mandate_issuer import Issuer

CLIENT = Identity.client("dev")
"""Whom calls are for where a test does not say."""


class Mandates:
    """Makes mandates for one agent."""

    def __init__(self, source: CertificateSource, agent: str, namespace: str = "default") -> None:
        """Takes a dispatcher's certificate, and the agent."""
        self._issuer = Issuer(source)
        self._agent = agent
        self._namespace = namespace

    def put(self, origin: call_pb2.CallOrigin, scope: Scope = WHOLE) -> None:
        """Writes into a call whom it is for, where it does not say so, and its mandate, where it has none."""
        origin.namespace = origin.namespace or self._namespace
        origin.principal = origin.principal or CLIENT.uri
        origin.mandate = origin.mandate or self._issuer.mandate(origin.principal, origin.namespace, origin.run_id, self._agent, scope, 60)


class MandatingStub:
    """A stub of an agent's service whose calls have mandates."""

    def __init__(self, stub: Any, mandates: Mandates) -> None:
        """Takes the stub, and what makes mandates."""
        self._stub = stub
        self._mandates = mandates
        self.Describe = stub.Describe

    def Invoke(self, request: Any, **how: Any) -> Any:
        """Calls a function."""
        self._mandates.put(request.origin)
        return self._stub.Invoke(request, **how)

    def InvokeStream(self, request: Any, **how: Any) -> Any:
        """Calls a function and tells what it says."""
        self._mandates.put(request.origin)
        return self._stub.InvokeStream(request, **how)
