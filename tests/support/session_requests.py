"""Requests to schedulers by session, as a client makes them, for a test that wants to know which went by themselves."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from parade.client import BY_SESSION
from parade.v1 import scheduler_pb2_grpc
from parade.wire.channel import Channel, targets
from parade.wire.identity import Identity
from parade.wire.replicas import Replicas
from parade.wire.session.methods import SCHEDULER_SESSION
from parade.wire.session.requests import SessionReplicas
from parade.wire.session.stream import Session
from tests.support.certificates import Authority

CLIENT = Identity.client("dev")


class CountedReplicas(Replicas):
    """Replicas that keep which requests went by themselves."""

    def __init__(self, channels: list[Channel]) -> None:
        super().__init__(channels)
        self.alone: list[str] = []

    def unary_unary(self, path: str, *method: Any, **more: Any) -> Callable[..., Any]:
        """Returns the caller of a method, which keeps that it was called."""
        inner = super().unary_unary(path, *method, **more)

        def call(request: Any, **named: Any) -> Any:
            self.alone.append(path.rpartition("/")[2])
            return inner(request, **named)

        return call


class SessionClient:
    """A client of schedulers."""

    def __init__(self, replicas: CountedReplicas, sessions: SessionReplicas) -> None:
        self.stub: Any = scheduler_pb2_grpc.SchedulerServiceStub(sessions.for_stubs())
        self._replicas = replicas
        self._link = sessions._link

    @property
    def alone(self) -> list[str]:
        """The methods of the requests that went by themselves."""
        return self._replicas.alone

    @property
    def session(self) -> Session | None:
        """The session that takes new requests."""
        return self._link._current

    @property
    def out(self) -> int:
        """How many requests have left by session and have no answer yet."""
        return self._link.outstanding - len(self._link._waiting)


@asynccontextmanager
async def session_client(authority: Authority, addresses: str, caller: Identity = CLIENT) -> AsyncIterator[SessionClient]:
    """Connects a client for the block; `addresses` has commas between several."""
    source, name = authority.source(caller), Identity.service("scheduler").server_name
    channels = [Channel(address, source, name, peer="scheduler") for address in targets(addresses)]
    async with CountedReplicas(channels) as replicas, SessionReplicas.over(replicas, SCHEDULER_SESSION, BY_SESSION) as sessions:
        yield SessionClient(replicas, sessions)
