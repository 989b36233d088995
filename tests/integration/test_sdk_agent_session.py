"""An agent's sessions, opened as a dispatcher opens them.

One file, though a long one: it walks one stream of an agent through every way that it can end.
"""

import asyncio
import itertools
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import orjson
import pytest

import parade
from parade.hosting.instance import Instance
from parade.v1 import session_pb2
from parade.wire.channel import Channel
from parade.wire.errors import ParadeError, Reason
from parade.wire.identity import Identity
from parade.wire.mandate import MANDATE, Refusal
from parade.wire.session.caller import SessionCaller
from parade.wire.session.link import Link
from tests.integration.sdk_agent_harness import DISPATCHER, SmallMesh, small_mesh
from tests.support.mandates import Mandates
from tests.support.waiting import eventually

PATH = "/parade.v1.AgentService/Session"
DISPATCHER_PATH = "/parade.v1.DispatcherService/Session"

_NUMBERS = itertools.count(1)


class Shop:
    """An agent, and what its functions have seen."""

    def __init__(self) -> None:
        self.agent = parade.Agent("analyst", max_concurrency=100)
        self.began = threading.Event()
        self.ended = threading.Event()
        self.finish = asyncio.Event()
        self.given = 0
        self.paid = 0
        self._define()

    def _define(self) -> None:
        @self.agent.function(effect="pure")
        async def double(number: int) -> int:
            return 2 * number

        @self.agent.function(effect="pure")
        def double_in_a_thread(number: int) -> int:
            return 2 * number

        @self.agent.function(effect="pure")
        async def wait() -> None:
            self.began.set()
            try:
                await asyncio.Event().wait()
            finally:
                self.ended.set()

        @self.agent.function
        async def pay() -> str:
            self.paid += 1
            self.began.set()
            await self.finish.wait()
            return "paid"

        @self.agent.function(effect="pure")
        async def flow(to: int) -> AsyncIterator[str]:
            for number in range(to):
                self.given = number + 1
                yield "x" * 1000

        @self.agent.function(effect="pure")
        def flow_in_a_thread(to: int) -> Iterator[str]:
            for number in range(to):
                self.given = number + 1
                yield "x" * 1000

        @self.agent.function(effect="pure")
        async def endless(context: parade.Context) -> AsyncIterator[int]:
            try:
                for number in itertools.count():
                    context.progress(number)
                    yield number
            finally:
                self.ended.set()


@pytest.fixture
def shop() -> Shop:
    return Shop()


@pytest.fixture
async def mesh(tmp_path: Path) -> AsyncIterator[SmallMesh]:
    async with small_mesh(tmp_path) as made:
        yield made


@pytest.fixture
async def instance(mesh: SmallMesh, shop: Shop) -> AsyncIterator[Instance]:
    async with shop.agent.serving(mesh.file) as running:
        yield running


class Dispatching:
    """A dispatcher's session with an instance."""

    def __init__(self, mesh: SmallMesh, instance: Instance, caller: Identity = DISPATCHER) -> None:
        source = mesh.authority.source(caller, trust_bundle=mesh.authority.trust_bundle)
        self.channel = Channel(instance.address, source, instance.server_name, peer=instance.agent)
        self.link = Link([self.channel], PATH)
        self._mandates = Mandates(source, instance.agent)
        self.caller = SessionCaller(self.link)
        mesh.stack.push_async_callback(self.channel.close)
        mesh.stack.push_async_callback(self.link.close)

    async def call(self, function: str, timeout: float = 10, *, call_id: str = "", attach: bool = False, **arguments: Any) -> Any:
        result = await self.caller.call(self.given(call_of(function, arguments, call_id, attach=attach)), timeout)
        return orjson.loads(result.result.data)

    def given(self, call: session_pb2.SessionCall) -> session_pb2.SessionCall:
        """Returns a call with its mandate."""
        self._mandates.put(call.origin)
        return call

    async def failure(self, function: str, timeout: float = 10, **arguments: Any) -> ParadeError:
        with pytest.raises(ParadeError) as caught:
            await self.call(function, timeout, **arguments)
        return caught.value

    async def vanish(self) -> None:
        """Goes away for good, as a process that is killed."""
        await self.channel.close()
        await self.link.close()


def call_of(function: str, arguments: Any, call_id: str = "", *, attach: bool = False) -> session_pb2.SessionCall:
    call = session_pb2.SessionCall(function=f"analyst.{function}", attach=attach)
    call.arguments.data = orjson.dumps(arguments)
    call.options.call_id = call_id or f"session-call-{next(_NUMBERS):04}"
    return call


@pytest.fixture
def dispatching(mesh: SmallMesh, instance: Instance) -> Dispatching:
    return Dispatching(mesh, instance)


async def test_a_session_carries_many_calls_at_once(dispatching: Dispatching) -> None:
    names = itertools.cycle(["double", "double_in_a_thread"])
    calls = [dispatching.call(next(names), number=number) for number in range(90)]

    assert await asyncio.gather(*calls) == [2 * number for number in range(90)]


@pytest.mark.parametrize("function", ["double", "double_in_a_thread", "pay", "flow"])
async def test_a_call_without_a_mandate_fails_for_itself_and_reaches_no_function(
    dispatching: Dispatching, instance: Instance, shop: Shop, function: str
) -> None:
    good = asyncio.create_task(dispatching.call("double", number=1))

    with pytest.raises(ParadeError) as caught:
        await dispatching.caller.call(call_of(function, {"number": 1, "to": 1}), 10)

    assert await good == 2
    assert (caught.value.reason, caught.value.metadata[MANDATE]) == (Reason.PERMISSION_DENIED, Refusal.MISSING)
    assert (shop.began.is_set(), shop.given, instance.capacity.completed) == (False, 0, 1)


async def test_each_call_of_a_session_fails_for_itself(dispatching: Dispatching) -> None:
    good, unknown, wrong = await asyncio.gather(
        dispatching.call("double", number=1), dispatching.failure("triple"), dispatching.failure("double", number="x")
    )

    assert (good, unknown.reason, wrong.reason) == (2, Reason.UNKNOWN_FUNCTION, Reason.INVALID_ARGUMENTS)
    assert [violation.field for violation in wrong.violations] == ["arguments.number"]


@pytest.mark.parametrize(
    "caller",
    [Identity.client("dev"), Identity.agent("other", "i1"), Identity.service("scheduler")],
    ids=lambda caller: str(caller.kind),
)
async def test_only_a_dispatcher_may_open_a_session(mesh: SmallMesh, instance: Instance, caller: Identity) -> None:
    error = await Dispatching(mesh, instance, caller).failure("double", number=1)

    assert error.reason is Reason.PERMISSION_DENIED


async def test_a_result_says_how_long_its_call_waited_and_ran(dispatching: Dispatching) -> None:
    result = await dispatching.caller.call(dispatching.given(call_of("double", {"number": 1})), 5)

    assert 0 <= result.queued_us < 5_000_000
    assert 0 < result.executing_us < 5_000_000


async def test_a_deadline_is_kept_and_what_became_of_the_function_said(dispatching: Dispatching, shop: Shop) -> None:
    error = await dispatching.failure("wait", 0.2)

    assert (error.reason, error.metadata["cancellation"]) == (Reason.DEADLINE_EXCEEDED, "STOPPED")
    assert shop.ended.is_set()


async def test_cancelling_a_call_of_a_session_reaches_its_function(dispatching: Dispatching, shop: Shop, instance: Instance) -> None:
    call = asyncio.create_task(dispatching.call("wait"))
    await eventually(shop.began.is_set)

    call.cancel()

    await eventually(shop.ended.is_set)
    await eventually(lambda: instance.capacity.in_flight == 0)
    assert await dispatching.call("double", number=2) == 4


async def test_a_dispatcher_that_goes_away_takes_its_repeatable_calls_with_it(
    dispatching: Dispatching, shop: Shop, instance: Instance
) -> None:
    call = asyncio.create_task(dispatching.call("wait"))
    await eventually(shop.began.is_set)

    await dispatching.vanish()

    await eventually(shop.ended.is_set)
    await eventually(lambda: instance.capacity.in_flight == 0)
    call.cancel()


async def test_an_effect_outlives_its_dispatcher_and_another_one_finds_it(
    mesh: SmallMesh, instance: Instance, dispatching: Dispatching, shop: Shop
) -> None:
    call = asyncio.create_task(dispatching.call("pay", 30, call_id="payment-1"))
    await eventually(shop.began.is_set)
    await dispatching.vanish()
    call.cancel()
    other = Dispatching(mesh, instance)

    attached = asyncio.create_task(other.call("pay", call_id="payment-1", attach=True))
    await other.call("double", number=1)
    shop.finish.set()

    assert await attached == "paid"
    assert await other.call("pay", call_id="payment-1", attach=True) == "paid"
    with pytest.raises(ParadeError) as caught:
        await other.call("pay", call_id="payment-2", attach=True)
    assert (caught.value.reason, shop.paid) == (Reason.NOT_FOUND, 1)


@pytest.mark.parametrize("function", ["flow", "flow_in_a_thread"])
async def test_a_slow_reader_holds_a_generator_back_over_a_session(dispatching: Dispatching, shop: Shop, function: str) -> None:
    window = 20_000
    async with aclosing(dispatching.caller.stream(dispatching.given(call_of(function, {"to": 500})), 20, window)) as said:
        first = await anext(said)
        await asyncio.sleep(0.1)
        assert shop.given <= 2 * window // 1000
        assert isinstance(first, session_pb2.SessionEvent)

        rest = [one async for one in said]

    assert len(rest) == 500  # the other items, and the end
    assert isinstance(rest[-1], session_pb2.SessionResult)
    assert shop.given == 500


async def test_leaving_a_stream_ends_its_generator(dispatching: Dispatching, shop: Shop, instance: Instance) -> None:
    async with aclosing(dispatching.caller.stream(dispatching.given(call_of("endless", {})), 20)) as said:
        await anext(said)

    await eventually(shop.ended.is_set)
    await eventually(lambda: instance.capacity.in_flight == 0)


# --------------------------------------------------------------------------------------------- with a dispatcher between


class Tree:
    """An agent whose functions call those of the shop."""

    def __init__(self) -> None:
        self.agent = parade.Agent("asking", max_concurrency=100)

        @self.agent.function(effect="pure")
        async def ask(context: parade.Context) -> Any:
            return await context.call("analyst.wait")

        @self.agent.function(effect="pure")
        def ask_in_a_thread(context: parade.Context) -> Any:
            return context.wait(context.call("analyst.wait"))

        @self.agent.function(effect="pure")
        async def ask_beside(context: parade.Context) -> Any:
            self.beside = asyncio.create_task(context.call("analyst.wait"))
            await asyncio.Event().wait()

        @self.agent.function(effect="pure")
        async def ask_and_leave(context: parade.Context) -> str:
            self.beside = asyncio.create_task(context.call("analyst.wait"))
            while not self.left.is_set():
                await asyncio.sleep(0.01)
            return "left"

        self.left = threading.Event()


async def reaches(asking: Dispatching, shop: Shop) -> None:
    """Waits until the dispatcher knows the shop."""

    async def reached() -> bool:
        call = call_of("ask", {})
        call.function = "asking.ask"
        try:
            await asking.caller.call(asking.given(call), 0.5)
        except ParadeError:
            return shop.began.is_set()
        return True

    await eventually(reached, within=15)
    await eventually(shop.ended.is_set)
    shop.began.clear()
    shop.ended.clear()


@pytest.mark.parametrize("function", ["ask", "ask_in_a_thread", "ask_beside"])
@pytest.mark.parametrize("ending", ["cancel", "deadline"])
async def test_nested_calls_end_with_their_call(mesh: SmallMesh, instance: Instance, shop: Shop, function: str, ending: str) -> None:
    await mesh.start_dispatcher()
    tree = Tree()
    async with tree.agent.serving(mesh.file) as running:
        asking = Dispatching(mesh, running)
        await reaches(asking, shop)
        request = call_of("", {})
        request.function = f"asking.{function}"

        call = asyncio.create_task(asking.caller.call(asking.given(request), 0.5 if ending == "deadline" else 20))
        await eventually(shop.began.is_set)
        if ending == "cancel":
            call.cancel()

        await eventually(shop.ended.is_set)
        await eventually(lambda: running.capacity.in_flight == instance.capacity.in_flight == 0)
        with pytest.raises((ParadeError, asyncio.CancelledError)):
            await call


async def test_nested_calls_that_nobody_awaits_end_with_their_function(mesh: SmallMesh, instance: Instance, shop: Shop) -> None:
    await mesh.start_dispatcher()
    tree = Tree()
    async with tree.agent.serving(mesh.file) as running:
        asking = Dispatching(mesh, running)
        await reaches(asking, shop)
        request = call_of("", {})
        request.function = "asking.ask_and_leave"

        call = asyncio.create_task(asking.caller.call(asking.given(request), 20))
        await eventually(shop.began.is_set)
        tree.left.set()

        assert orjson.loads((await call).result.data) == "left"
        await eventually(shop.ended.is_set)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("deployments", [3, pytest.param(20, marks=pytest.mark.full)])
async def test_deployments_under_load_fail_no_call(mesh: SmallMesh, deployments: int) -> None:
    await mesh.start_dispatcher()
    agent = parade.Agent("analyst", max_concurrency=64)

    @agent.function(effect="pure")
    async def echo(number: int) -> int:
        await asyncio.sleep(0.005)
        return number

    @agent.function
    async def pay(number: int) -> int:
        await asyncio.sleep(0.005)
        return number

    link = Link([mesh.authority.channel(mesh.file.services["dispatcher"], Identity.client("dev"), "dispatcher")], DISPATCHER_PATH)
    mesh.stack.push_async_callback(link.close)
    caller = SessionCaller(link)
    failures: list[str] = []
    answered = 0
    stop = asyncio.Event()

    async def load(function: str) -> None:
        nonlocal answered
        number = 0
        while not stop.is_set():
            number += 1
            call = call_of(function, {"number": number})
            try:
                result = await caller.call(call, 20)
                assert result.result.data == b"%d" % number
                answered += 1
            except ParadeError as error:
                failures.append(str(error))

    async with agent.serving(mesh.file):

        async def reached() -> bool:
            try:
                await caller.call(call_of("echo", {"number": 1}), 1)
            except ParadeError:
                return False
            return True

        await eventually(reached, within=15)
        async with asyncio.TaskGroup() as tasks:
            for _ in range(8):
                tasks.create_task(load("echo"))
                tasks.create_task(load("pay"))
            for _ in range(deployments):
                async with agent.serving(mesh.file) as replacement:
                    await eventually(lambda running=replacement: running.capacity.completed > 5, within=15)  # type: ignore[misc]
            stop.set()

    assert failures == []
    assert answered > 50 * deployments
