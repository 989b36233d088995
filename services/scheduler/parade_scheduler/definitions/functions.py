"""Asks the agent_manager which functions there are."""

from collections.abc import AsyncIterator, Collection
from typing import Any, Final

from parade.v1 import agent_manager_pb2, agent_manager_pb2_grpc
from parade.wire.channel import Channel
from parade.wire.metadata import on_behalf_of
from parade_scheduler.ports import DurableFunction

TIMEOUT: Final = 5.0
"""Seconds that one answer may take."""
_PAGE_SIZE: Final = 1000


class AgentManagerFunctions:
    """The agent_manager, behind the port `Functions`."""

    def __init__(self, channel: Channel) -> None:
        """Takes the channel to the agent_manager."""
        self._stub: Any = agent_manager_pb2_grpc.AgentManagerServiceStub(channel.for_stubs())

    async def registered(self, namespace: str, principal: str, agents: Collection[str]) -> frozenset[str]:
        """Returns the full names of these agents' functions; see `Functions`."""
        return frozenset([entry.full_name for agent in sorted(agents) async for entry in self._entries(namespace, principal, agent)])

    async def first(self, namespace: str, principal: str) -> frozenset[str]:
        """Returns the full names of the first functions; see `Functions`."""
        response = await self._page(namespace, principal, "", "")
        return frozenset(entry.full_name for entry in response.functions)

    async def durable(self, namespace: str, full_name: str) -> DurableFunction | None:
        """Returns a durable function; see `Functions`. It is asked for by the scheduler itself, for runs go on without who started them."""
        async for entry in self._entries(namespace, "", full_name.partition(".")[0]):
            function = entry.function
            if entry.full_name == full_name and function.durable:
                return DurableFunction(function.description, function.arguments_schema.data)
        return None

    async def _entries(self, namespace: str, principal: str, agent: str) -> AsyncIterator[agent_manager_pb2.ListFunctionsResponse.Entry]:
        """Yields every function of an agent."""
        token = ""
        while True:
            response = await self._page(namespace, principal, agent, token)
            for entry in response.functions:
                yield entry
            token = response.next_page_token
            if not token:
                return

    async def _page(self, namespace: str, principal: str, agent: str, token: str) -> agent_manager_pb2.ListFunctionsResponse:
        request = agent_manager_pb2.ListFunctionsRequest(agent=agent, page_size=_PAGE_SIZE, page_token=token)
        response: agent_manager_pb2.ListFunctionsResponse = await self._stub.ListFunctions(
            request, timeout=TIMEOUT, metadata=on_behalf_of(namespace, principal)
        )
        return response
