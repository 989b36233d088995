"""How the agent_manager is asked who exists."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from parade.v1 import agent_manager_pb2, agent_manager_pb2_grpc
from parade.wire.channel import Channel
from parade_dispatcher import news
from parade_dispatcher.model import Change


class Watch:
    """One stream of changes for each time that it is called."""

    def __init__(self, channel: Channel) -> None:
        """Takes the channel to the agent_manager."""
        self._stub: Any = agent_manager_pb2_grpc.AgentManagerServiceStub(channel)  # type: ignore[call-overload]

    async def __call__(self) -> AsyncGenerator[Change, None]:
        """Yields everything there is, then `Synced`, then each change.

        Raises:
            ParadeError: The agent_manager cannot be reached, or has ended the stream.
        """
        async with aclosing(self._stub.WatchAgents(agent_manager_pb2.WatchAgentsRequest())) as messages:
            async for message in messages:
                change = news.change(message)
                if change is not None:
                    yield change
