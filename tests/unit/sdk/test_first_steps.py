"""The first steps of coroutine functions, which share a task until one has to wait: what a function can see of that, which is nothing."""

import asyncio
import contextvars
import itertools
from collections.abc import AsyncIterator, Callable
from typing import Any

import orjson
import pytest

import parade
from parade.function import Effect, Function
from parade.hosting.capacity import Capacity
from parade.hosting.executor import Executor
from parade.hosting.host import Host
from parade.hosting.observer import FailureLog
from parade.v1 import session_pb2
from parade.wire.deadlines import Deadlines
from parade.wire.errors import ParadeError, Reason
from parade.wire.log import Log
from tests.support.exchange import KeepingExchange, settled

_NUMBERS = itertools.count()

VARIABLE = contextvars.ContextVar("VARIABLE", default="untouched")


class Bench:
    """An executor of some functions."""

    def __init__(self, handlers: tuple[Callable[..., Any], ...], effect: Effect) -> None:
        log = Log(level="error")
        self.capacity = Capacity(100)
        self.host = Host("tested", self.capacity, Deadlines(), FailureLog(log), log)
        self.executor = Executor({handler.__name__: Function.of(handler, effect=effect) for handler in handlers}, self.host)

    def begin(self, function: str, arguments: Any = None, timeout: float = 5) -> KeepingExchange:
        call = session_pb2.SessionCall(function=f"tested.{function}", timeout=timeout)
        call.arguments.data = orjson.dumps(arguments or {})
        call.options.call_id = f"call-{next(_NUMBERS)}"
        exchange = KeepingExchange()
        self.executor.begin(call, exchange)
        return exchange


Making = Callable[..., Bench]


@pytest.fixture(params=["pure", "effect"])
async def make(request: pytest.FixtureRequest) -> AsyncIterator[Making]:
    made: list[Bench] = []

    def making(*handlers: Callable[..., Any]) -> Bench:
        made.append(Bench(handlers, request.param))
        return made[-1]

    yield making
    for bench in made:
        await bench.executor.close()
        assert bench.capacity.in_flight == 0
        assert not bench.host.running


async def test_a_function_that_waits_for_nothing_is_answered_before_anything_else_happens(make: Making) -> None:
    async def double(number: int) -> int:
        return 2 * number

    bench = make(double)
    exchange = bench.begin("double", {"number": 21})

    assert [result.result.data for result in exchange.results] == [b"42"]
    assert bench.capacity.completed == 1


async def test_a_function_that_fails_at_once_is_answered_likewise(make: Making) -> None:
    async def fail() -> None:
        raise ValueError("no")

    bench = make(fail)
    error = await bench.begin("fail").error()

    assert (error.reason, error.message) == (Reason.AGENT_ERROR, "ValueError: no")
    assert bench.capacity.completed == 1


async def test_a_result_outside_the_schema_fails_at_once_too(make: Making) -> None:
    async def wrong() -> int:
        return "text"  # type: ignore[return-value]

    assert (await make(wrong).begin("wrong").error()).reason is Reason.AGENT_ERROR


async def test_a_function_has_one_task_from_its_first_step_to_its_last(make: Making) -> None:
    async def tasks() -> list[bool]:
        first = asyncio.current_task()
        await asyncio.sleep(0)
        second = asyncio.current_task()
        await asyncio.sleep(0.001)
        return [first is not None, first is second, second is asyncio.current_task()]

    caller = asyncio.current_task()
    exchange = make(tasks).begin("tasks")

    assert asyncio.current_task() is caller
    assert await exchange.value() == [True, True, True]


async def test_functions_that_wait_have_tasks_of_their_own(make: Making) -> None:
    seen: list[Any] = []

    async def wait() -> None:
        seen.append(asyncio.current_task())
        await asyncio.sleep(0)

    bench = make(wait)
    exchanges = [bench.begin("wait") for _ in range(3)]
    for exchange in exchanges:
        await exchange.result()

    assert len({id(task) for task in seen}) == 3
    assert {task.get_name() for task in seen} == {"tested.wait"}


async def test_a_task_that_somebody_holds_is_nobody_elses(make: Making) -> None:
    seen: list[Any] = []

    async def hold() -> None:
        seen.append(asyncio.current_task())

    bench = make(hold)
    for _ in range(3):
        bench.begin("hold")

    assert len({id(task) for task in seen}) == 3


async def test_a_function_that_cancels_itself_and_ends_harms_no_other(make: Making) -> None:
    async def cancel() -> str:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        return "done"

    async def wait() -> str:
        await asyncio.sleep(0)
        return "waited"

    bench = make(cancel, wait)
    first, second = bench.begin("cancel"), bench.begin("wait")

    assert (await first.value(), await second.value()) == ("done", "waited")


async def test_what_a_function_sets_in_its_context_no_other_sees(make: Making) -> None:
    async def put() -> str:
        before = VARIABLE.get()
        VARIABLE.set("touched")
        return before

    async def put_and_wait() -> list[str]:
        before = VARIABLE.get()
        VARIABLE.set("touched by another")
        await asyncio.sleep(0)
        return [before, VARIABLE.get()]

    bench = make(put, put_and_wait)
    exchanges = [bench.begin("put"), bench.begin("put_and_wait"), bench.begin("put")]

    assert [await exchange.value() for exchange in exchanges] == ["untouched", ["untouched", "touched by another"], "untouched"]
    assert VARIABLE.get() == "untouched"


async def test_a_timeout_that_begins_in_the_first_step_ends_that_function_alone(make: Making) -> None:
    async def wait() -> str:
        try:
            async with asyncio.timeout(0.02):
                await asyncio.Event().wait()
        except TimeoutError:
            return "in time"
        return "never"

    bench = make(wait)
    exchanges = [bench.begin("wait") for _ in range(2)]

    assert [await exchange.value() for exchange in exchanges] == ["in time", "in time"]


async def test_a_task_group_that_begins_in_the_first_step_ends_with_its_function(make: Making) -> None:
    ended: list[str] = []

    async def beside() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("beside")

    async def group() -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(beside())

    exchange = make(group).begin("group")
    await settled()
    exchange.cancel()

    assert (await exchange.error()).metadata["cancellation"] == "STOPPED"
    assert ended == ["beside"]


@pytest.mark.parametrize("turns", [0, 1, 2, 5])
async def test_a_cancellation_reaches_what_the_function_waits_for(make: Making, turns: int) -> None:
    beside: list[asyncio.Task[Any]] = []

    async def wait() -> None:
        beside.append(asyncio.create_task(asyncio.Event().wait()))
        await beside[0]

    exchange = make(wait).begin("wait")
    for _ in range(turns):
        await asyncio.sleep(0)
    exchange.cancel()

    error = await exchange.error()
    assert (error.reason, error.metadata["cancellation"]) == (Reason.CANCELLED, "STOPPED")
    assert beside[0].cancelled()


async def test_a_cancellation_right_after_the_first_step_ends_what_was_begun_in_it(make: Making) -> None:
    ended: list[str] = []
    waited: list[asyncio.Future[None]] = []

    async def wait() -> None:
        waited.append(asyncio.get_running_loop().create_future())
        try:
            await waited[0]
        finally:
            ended.append("function")

    exchange = make(wait).begin("wait")
    exchange.cancel()

    error = await exchange.error()
    assert (error.reason, error.metadata["cancellation"]) == (Reason.CANCELLED, "STOPPED")
    assert ended == ["function"]
    assert waited[0].cancelled()


async def test_a_function_may_decline_its_cancellation_for_a_moment(make: Making) -> None:
    async def tidy() -> None:
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            await asyncio.sleep(0.01)
            raise

    exchange = make(tidy).begin("tidy")
    exchange.cancel()

    assert (await exchange.error()).metadata["cancellation"] == "STOPPED"


async def test_a_deadline_ends_a_function_that_waits(make: Making) -> None:
    async def wait() -> None:
        await asyncio.sleep(60)

    error = await make(wait).begin("wait", timeout=0.03).error()

    assert (error.reason, error.metadata["cancellation"]) == (Reason.DEADLINE_EXCEEDED, "STOPPED")


async def test_a_full_instance_refuses(make: Making) -> None:
    async def wait() -> None:
        await asyncio.sleep(60)

    bench = make(wait)
    bench.capacity.maximum = 1
    exchange = bench.begin("wait")

    assert (await bench.begin("wait").error()).reason is Reason.NO_CAPACITY
    exchange.cancel()
    await exchange.error()


async def test_a_nested_first_step_has_a_task_of_its_own(make: Making) -> None:
    seen: list[Any] = []
    benches: list[Bench] = []

    async def inner() -> None:
        seen.append(asyncio.current_task() is not outer_task[0])

    outer_task: list[Any] = []

    async def outer() -> None:
        outer_task.append(asyncio.current_task())
        benches[0].begin("inner")
        seen.append(asyncio.current_task() is outer_task[0])

    benches.append(make(inner, outer))
    await benches[0].begin("outer").value()

    assert seen == [True, True]


async def test_a_context_ends_the_calls_of_its_function_and_not_the_function(make: Making) -> None:
    async def ask(context: parade.Context) -> bool:
        try:
            await context.call("nobody.knows")
        except ParadeError as error:
            return error.reason is Reason.FAILED_PRECONDITION
        return False

    assert await make(ask).begin("ask").value() is True
