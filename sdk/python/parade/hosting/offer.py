"""What an agent's author offers to the mesh, as each instance registers and describes it."""

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass

from parade.function import Function
from parade.hosting import contract
from parade.v1 import agent_manager_pb2, agent_pb2
from parade.wire.identity import Identity


@dataclass(frozen=True, slots=True)
class Offer:
    """What an agent's author offers."""

    agent: str
    """The agent's name."""
    version: str
    """The version that its author gave."""
    labels: Mapping[str, str]
    """Labels that its author gave."""
    max_concurrency: int
    """How many calls an instance runs at once."""
    functions: Mapping[str, Function]
    """The functions by name."""

    def registration(self, address: str) -> agent_manager_pb2.RegisterInstanceRequest:
        """Encodes what an instance says of itself to the agent_manager.

        Args:
            address: Where dispatchers reach it.
        """
        return agent_manager_pb2.RegisterInstanceRequest(
            address=address,
            functions=contract.functions(self.functions.values()),
            version=self.version,
            labels=self.labels,
            max_concurrency=self.max_concurrency,
            pid=os.getpid(),
            host=socket.gethostname(),
        )

    def description(self, identity: Identity) -> agent_pb2.DescribeResponse:
        """Encodes what an instance says of itself to whoever asks it."""
        return agent_pb2.DescribeResponse(
            agent=self.agent,
            instance_id=identity.instance,
            functions=contract.functions(self.functions.values()),
            max_concurrency=self.max_concurrency,
        )
