"""Asks the agent_manager which functions there are."""

from collections.abc import Collection
from typing import Any, Final

from parade.v1 import agent_manager_pb2, agent_manager_pb2_grpc
from parade.wire.channel import Channel
from parade.wire.metadata import on_behalf_of

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
        names: set[str] = set()
        for agent in sorted(agents):
            token = ""
            while True:
                found, token = await self._page(namespace, principal, agent, token)
                names.update(found)
                if not token:
                    break
        return frozenset(names)

    async def first(self, namespace: str, principal: str) -> frozenset[str]:
        """Returns the full names of the first functions; see `Functions`."""
        found, _ = await self._page(namespace, principal, "", "")
        return frozenset(found)

    async def _page(self, namespace: str, principal: str, agent: str, token: str) -> tuple[list[str], str]:
        """Returns a page of full names, and the token of the next."""
        request = agent_manager_pb2.ListFunctionsRequest(agent=agent, page_size=_PAGE_SIZE, page_token=token)
        response = await self._stub.ListFunctions(request, timeout=TIMEOUT, metadata=on_behalf_of(namespace, principal))
        return [entry.full_name for entry in response.functions], response.next_page_token
