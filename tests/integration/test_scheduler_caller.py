"""How the scheduler calls a function by session: what it sends, and what it makes of what comes back."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from grpc_status import rpc_status

from parade.v1 import dispatcher_pb2_grpc, session_pb2, value_pb2
from parade.wire.errors import ParadeError, Reason
from parade.wire.identity import Identity
from parade.wire.session import delivery
from parade.wire.session.acceptor import Acceptor, Exchange
from parade.wire.session.link import Link
from parade.wire.session.methods import DISPATCHER_SESSION
from parade.wire.status import to_record, to_status
from parade.wire.telemetry import Telemetry
from parade_scheduler.caller import DispatcherCaller, call_id
from parade_scheduler.decider import Dispatch
from parade_scheduler.decider.tasks import NOT_SENT
from parade_scheduler.document import Document
from parade_scheduler.model import Progress, Run
from tests.support.certificates import Authority
from tests.support.servers import free_port, serving
from tests.unit.scheduler.simulation import START

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"
RUN = Run(
    "run-1", "default", "flow", 1, Document(b"{}"), START, principal="spiffe://parade.local/ns/default/client/dev", trace_parent=PARENT
)
Answers = Callable[[session_pb2.SessionCall, Exchange], None]


def dispatch(*, attempt: int = 1, redelivered: bool = False, resumed: bool = False) -> Dispatch:
    return Dispatch("a", 0, attempt, "x.a", Document(b'{"n": 1}'), None, redelivered, resumed)


class FakeDispatcher(dispatcher_pb2_grpc.DispatcherServiceServicer):
    """Answers as the test says."""

    def __init__(self, answers: Answers) -> None:
        self.calls: list[session_pb2.SessionCall] = []
        self._answers = answers
        self._acceptor = Acceptor(self)

    def begin(self, call: session_pb2.SessionCall, exchange: Exchange) -> None:
        self.calls.append(call)
        self._answers(call, exchange)

    async def Session(self, frames: AsyncIterator[session_pb2.SessionFrame], context: Any) -> Any:
        try:
            async for frame in self._acceptor.serve(frames, "scheduler", lambda: None):
                yield session_pb2.SessionFrame.FromString(frame)
        except ParadeError as error:
            await context.abort_with_status(rpc_status.to_status(to_status(error)))


@asynccontextmanager
async def calling(folder: Path, answers: Answers | None, *more: str) -> AsyncIterator[tuple[DispatcherCaller, FakeDispatcher]]:
    """Gives a caller of a dispatcher that answers so; where there is no answer, of none."""
    authority = Authority(folder)
    dispatcher = FakeDispatcher(answers or (lambda _call, _exchange: None))  # type: ignore[abstract]  # no more is asked
    server, address = await serving(dispatcher, dispatcher_pb2_grpc, "DispatcherService", authority.source(Identity.service("dispatcher")))
    addresses = [*more, *([address] if answers else [])]
    channels = [authority.channel(one, Identity.service("scheduler"), "dispatcher") for one in addresses]
    link = Link(channels, DISPATCHER_SESSION)
    with Telemetry("scheduler", "s-1") as telemetry:
        yield DispatcherCaller(link, telemetry), dispatcher
    await link.close()
    for channel in channels:
        await channel.close()
    await server.stop(None)


class Heard:
    """What the caller says of one call."""

    def __init__(self) -> None:
        self.said: list[str | Progress | Document] = []
        self.over: asyncio.Future[Document] = asyncio.get_running_loop().create_future()

    def assigned(self, instance_id: str) -> None:
        self.said.append(instance_id)

    def progressed(self, progress: Progress) -> None:
        self.said.append(progress)

    def succeeded(self, output: Document) -> None:
        self.said.append(output)
        self.over.set_result(output)

    def failed(self, error: Exception) -> None:
        self.over.set_exception(error)


async def heard(caller: DispatcherCaller, dispatch: Dispatch) -> list[str | Progress | Document]:
    listener = Heard()
    caller.call(RUN, dispatch, listener)
    async with asyncio.timeout(20):
        await listener.over
    return listener.said


async def refused(caller: DispatcherCaller, dispatch: Dispatch) -> ParadeError:
    with pytest.raises(ParadeError) as raised:
        await heard(caller, dispatch)
    return raised.value


def ends(**outcome: Any) -> Answers:
    return lambda _, exchange: exchange.answer(session_pb2.SessionResult(**outcome))


def fails(error: ParadeError) -> Answers:
    return ends(error=to_record(error))


async def test_a_call_says_whom_and_which_step_it_is_for(tmp_path: Path) -> None:
    async with calling(tmp_path, ends(result=value_pb2.Value(data=b"7"))) as (caller, dispatcher):
        answers = await heard(caller, dispatch())

    (call,) = dispatcher.calls
    assert answers == [Document(b"7")]
    assert (call.function, call.arguments.data, call.traceparent) == ("x.a", b'{"n": 1}', PARENT)
    assert (call.origin.namespace, call.origin.principal, call.origin.run_id, call.origin.step) == ("default", RUN.principal, "run-1", "a")
    assert not call.step_redelivered
    assert not call.options.redelivered


async def test_an_attempt_made_again_is_the_same_call_and_a_later_one_is_not(tmp_path: Path) -> None:
    async with calling(tmp_path, ends(result=value_pb2.Value(data=b"7"))) as (caller, dispatcher):
        for one in (dispatch(), dispatch(redelivered=True, resumed=True), dispatch(attempt=2, redelivered=True)):
            await heard(caller, one)

    first, again, next_attempt = dispatcher.calls
    assert (again.step_redelivered, again.options.redelivered) == (True, True)
    assert (next_attempt.step_redelivered, next_attempt.options.redelivered) == (True, False)
    assert first.options.call_id == again.options.call_id == call_id("run-1", dispatch())
    assert next_attempt.options.call_id != first.options.call_id
    assert re.fullmatch(r"[A-Za-z0-9_-]{8,64}", first.options.call_id)


async def test_items_of_an_instance_that_was_replaced_are_forgotten(tmp_path: Path) -> None:
    def answers(_: session_pb2.SessionCall, exchange: Exchange) -> None:
        for event in ({"instance_id": "i-1"}, {"item": value_pb2.Value(data=b"1")}, {"instance_id": "i-2"}):
            exchange.tell(session_pb2.SessionEvent(**event))
        for item in (b"2", b"3"):
            exchange.tell(session_pb2.SessionEvent(item=value_pb2.Value(data=item)))
        exchange.answer(session_pb2.SessionResult())

    async with calling(tmp_path, answers) as (caller, _):
        told = await heard(caller, dispatch())

    assert told == ["i-1", "i-2", Document(b"[2,3]")]


async def test_what_the_dispatcher_could_not_do_was_not_sent(tmp_path: Path) -> None:
    async with calling(tmp_path, fails(ParadeError(Reason.UNAVAILABLE, "no picture yet"))) as (caller, _):
        first = await refused(caller, dispatch())
        again = await refused(caller, dispatch(redelivered=True, resumed=True))

    assert (first.reason, first.metadata.get(NOT_SENT)) == (Reason.UNAVAILABLE, "true")
    assert NOT_SENT not in again.metadata


async def test_a_failure_is_the_dispatchers_own_word(tmp_path: Path) -> None:
    async with calling(tmp_path, fails(ParadeError(Reason.AGENT_ERROR, "no such row", metadata={"line": "7"}))) as (caller, _):
        error = await refused(caller, dispatch())

    assert (error.reason, error.message, error.metadata) == (Reason.AGENT_ERROR, "no such row", {"line": "7"})


async def test_an_artifact_is_too_large_for_a_run(tmp_path: Path) -> None:
    artifact = value_pb2.ArtifactReference(digest="sha256:" + "0" * 64, size=8 * 2**20)

    async with calling(tmp_path, ends(result=value_pb2.Value(artifact=artifact))) as (caller, _):
        error = await refused(caller, dispatch())

    assert error.reason is Reason.INVALID_ARGUMENTS
    assert "8.0 MiB" in error.message


async def test_where_nobody_listens_nothing_was_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "REDELIVERY", 0.2)

    async with calling(tmp_path, None, f"127.0.0.1:{free_port()}") as (caller, _):
        error = await refused(caller, dispatch())

    assert (error.reason, error.metadata.get(NOT_SENT)) == (Reason.UNAVAILABLE, "true")


async def test_one_dispatcher_of_two_is_enough(tmp_path: Path) -> None:
    async with calling(tmp_path, ends(result=value_pb2.Value(data=b"7")), f"127.0.0.1:{free_port()}") as (caller, _):
        answers = await heard(caller, dispatch())

    assert answers == [Document(b"7")]
