"""An agent's server, called as a dispatcher calls it.

One file, though a long one: it walks one RPC of an agent through every way that it can end.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

import parade
from parade.hosting.instance import Instance
from parade.v1 import agent_pb2, call_pb2
from parade.wire.errors import ParadeError, Reason
from parade.wire.identity import Identity
from parade.wire.mandate import MANDATE, Refusal
from tests.integration.sdk_agent_harness import CLIENT, DISPATCHER, SmallMesh, invoke, invoke_stream, small_mesh, value
from tests.support.certificates import Authority
from tests.support.mandates import Mandates
from tests.support.waiting import eventually


class Shop:
    """An agent, and what its functions have seen."""

    def __init__(self) -> None:
        self.agent = parade.Agent("analyst", version="1.2", labels={"zone": "a"}, max_concurrency=2)
        self.began = threading.Event()
        self.cancelled = threading.Event()
        self.context: parade.Context | None = None
        self._define()

    def _define(self) -> None:  # noqa: C901  # a list of functions decides nothing
        @self.agent.function(effect="pure")
        async def total(rows: list[float], digits: int = 2, *, about: parade.Context) -> float:
            """Adds up."""
            self.context = about
            await about.progress(0.5, "adding")
            return round(sum(rows), digits)

        @self.agent.function
        async def fail(text: str) -> None:
            raise LookupError(text)

        @self.agent.function
        def refuse() -> None:
            raise parade.FunctionError("the till is closed", retryable=True, details={"opens": 8})

        @self.agent.function
        def leave() -> None:
            raise SystemExit(3)

        @self.agent.function
        def end_iteration() -> int:
            return int(next(iter([])))

        @self.agent.function
        async def lie() -> dict[str, int]:
            answer: Any = {"count": "many"}
            return answer  # type: ignore[no-any-return]

        @self.agent.function
        def large() -> str:
            return "x" * 5_000_000

        @self.agent.function
        async def wait(context: parade.Context) -> None:
            self.began.set()
            try:
                await asyncio.Event().wait()
            finally:
                if context.cancelled:
                    self.cancelled.set()

        @self.agent.function(timeout=0.2)
        async def short() -> None:
            await asyncio.Event().wait()

        @self.agent.function
        def block(context: parade.Context) -> str:
            self.began.set()
            context.cancelled.wait(30)
            self.cancelled.set()
            return "stopped"

        @self.agent.function(effect="pure")
        async def count(to: int) -> AsyncIterator[int]:
            for number in range(to):
                yield number

        @self.agent.function(effect="pure")
        def spell(word: str, context: parade.Context) -> Iterator[str]:
            for place, letter in enumerate(word, 1):
                context.progress(place / len(word), letter)
                yield letter

        @self.agent.function
        def endless(context: parade.Context) -> Iterator[int]:
            number = 0
            try:
                while True:
                    yield number
                    number += 1
            finally:
                self.cancelled.set()

        @self.agent.function
        async def work(context: parade.Context) -> str:
            for step in range(3):
                await context.progress(step / 3, f"step {step}")
            return "done"


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


async def failure(stub: Any, request: agent_pb2.InvokeRequest, timeout: float = 5) -> ParadeError:
    with pytest.raises(ParadeError) as caught:
        await stub.Invoke(request, timeout=timeout)
    return caught.value


async def test_a_call_returns_the_result_and_the_function_knows_whom_it_is_for(mesh: SmallMesh, instance: Instance, shop: Shop) -> None:
    request = invoke("total", {"rows": [1.25, 2.5]}, "call-1", namespace="default", principal="spiffe://p", run_id="run-1", step="sum")

    response = await mesh.agent(instance).Invoke(request, timeout=5)

    assert value(response.result) == 3.75
    assert shop.context is not None
    assert (shop.context.call_id, shop.context.function, shop.context.run_id) == ("call-1", "analyst.total", "run-1")
    assert (shop.context.namespace, shop.context.principal, shop.context.step) == ("default", "spiffe://p", "sum")
    assert 0 < (shop.context.remaining() or 0) <= 5


@pytest.mark.parametrize("shown", ["nothing", "noise", "another agent's", "another namespace's", "an agent's own", "another authority's"])
async def test_a_call_without_a_mandate_that_is_believed_reaches_no_function(
    mesh: SmallMesh, instance: Instance, shop: Shop, shown: str, tmp_path: Path
) -> None:
    dispatcher = mesh.authority.source(DISPATCHER)
    foreign = Authority(tmp_path / "foreign").source(DISPATCHER)
    itself = mesh.authority.source(Identity.agent("analyst", instance.id))
    origin = call_pb2.CallOrigin(namespace="default", principal=CLIENT.uri)
    match shown:
        case "noise":
            origin.mandate = b"a.b." + b"c" * 86
        case "another agent's":
            Mandates(dispatcher, "other").put(origin)
        case "another namespace's":
            other = call_pb2.CallOrigin()
            Mandates(dispatcher, "analyst", "sales").put(other)
            origin.mandate = other.mandate
        case "an agent's own":
            Mandates(itself, "analyst").put(origin)
        case "another authority's":
            Mandates(foreign, "analyst").put(origin)
    request = invoke("total", {"rows": []})
    request.origin.CopyFrom(origin)

    error = await failure(mesh.plain_agent(instance), request)

    assert (error.reason, MANDATE in error.metadata) == (Reason.PERMISSION_DENIED, True)
    assert shop.context is None
    assert instance.capacity.completed == 0


@pytest.mark.parametrize("lie", [{"principal": "spiffe://root"}, {"namespace": "sales"}, {"run_id": "run-1"}])
async def test_what_stands_beside_a_mandate_must_be_what_it_says(
    mesh: SmallMesh, instance: Instance, shop: Shop, lie: dict[str, Any]
) -> None:
    request = invoke("total", {"rows": []})
    Mandates(mesh.authority.source(DISPATCHER), "analyst").put(request.origin)
    request.origin.MergeFrom(call_pb2.CallOrigin(**lie))

    error = await failure(mesh.plain_agent(instance), request)

    assert (error.reason, error.metadata[MANDATE]) == (Reason.PERMISSION_DENIED, Refusal.CALL)
    assert shop.context is None


async def test_an_instance_describes_itself_to_a_dispatcher_and_to_the_agent_manager(mesh: SmallMesh, instance: Instance) -> None:
    for caller in ("dispatcher", "agent_manager"):
        description = await mesh.agent(instance, Identity.service(caller)).Describe(agent_pb2.DescribeRequest(), timeout=5)

        assert (description.agent, description.instance_id, description.max_concurrency) == ("analyst", instance.id, 2)
        assert {function.name for function in description.functions} >= {"total", "count"}


@pytest.mark.parametrize(
    "caller",
    [Identity.client("dev"), Identity.agent("other", "i1"), Identity.service("scheduler"), Identity.service("agent_manager")],
    ids=lambda caller: str(caller.kind),
)
async def test_only_a_dispatcher_may_invoke(mesh: SmallMesh, instance: Instance, shop: Shop, caller: Identity) -> None:
    error = await failure(mesh.agent(instance, caller), invoke("total", {"rows": []}))

    assert error.reason is Reason.PERMISSION_DENIED
    assert shop.context is None


async def test_a_dispatcher_of_another_domain_or_authority_is_nobody(
    mesh: SmallMesh, instance: Instance, shop: Shop, tmp_path: Path
) -> None:
    elsewhere = Identity.service("dispatcher", "other.example")
    forged = mesh.agent(instance, authority=Authority(tmp_path / "forged"))

    foreign = await failure(mesh.agent(instance, elsewhere), invoke("total", {"rows": []}))
    unknown = await failure(forged, invoke("total", {"rows": []}))

    assert foreign.reason is Reason.UNAUTHENTICATED
    assert unknown.reason is Reason.UNAVAILABLE  # the handshake fails
    assert shop.context is None


async def test_every_fault_of_the_arguments_is_named(mesh: SmallMesh, instance: Instance) -> None:
    error = await failure(mesh.agent(instance), invoke("total", {"rows": [1, "x"], "digits": "y", "extra": 1}))

    assert error.reason is Reason.INVALID_ARGUMENTS
    assert {violation.field for violation in error.violations} == {"arguments.rows[1]", "arguments.digits", "arguments.extra"}


async def test_arguments_that_are_no_json_are_refused(mesh: SmallMesh, instance: Instance) -> None:
    error = await failure(mesh.agent(instance), invoke("total", b"{"))

    assert error.reason is Reason.INVALID_ARGUMENTS


async def test_arguments_over_four_mebibytes_are_refused(mesh: SmallMesh, instance: Instance) -> None:
    error = await failure(mesh.agent(instance), invoke("fail", {"text": "x" * 5_000_000}))

    assert error.reason is Reason.INVALID_ARGUMENTS
    assert "4 MiB" in str(error)


async def test_an_unknown_function_is_named(mesh: SmallMesh, instance: Instance) -> None:
    error = await failure(mesh.agent(instance), invoke("totals"))

    assert error.reason is Reason.UNKNOWN_FUNCTION
    assert "total" in error.message


async def test_what_a_function_raises_reaches_the_caller_without_a_traceback(
    mesh: SmallMesh, instance: Instance, capsys: pytest.CaptureFixture[str]
) -> None:
    error = await failure(mesh.agent(instance), invoke("fail", {"text": "no such row"}))

    assert (error.reason, error.message, error.retryable) == (Reason.AGENT_ERROR, "LookupError: no such row", False)
    assert error.metadata["exception_type"] == "LookupError"
    assert "Traceback" not in str(error)
    log = capsys.readouterr().err
    assert "Traceback" in log
    assert "function=analyst.fail" in log


async def test_a_long_message_in_any_script_still_reaches_the_caller(mesh: SmallMesh, instance: Instance) -> None:
    error = await failure(mesh.agent(instance), invoke("fail", {"text": "ж" * 5000}))

    assert error.reason is Reason.AGENT_ERROR
    assert error.message.startswith("LookupError: жж")


async def test_many_faults_in_any_script_still_reach_the_caller(mesh: SmallMesh, instance: Instance) -> None:
    error = await failure(mesh.agent(instance), invoke("total", {"rows": [], **{f"лишнее-{'ж' * 100}-{n}": 1 for n in range(500)}}))

    assert error.reason is Reason.INVALID_ARGUMENTS
    assert "more faults" in str(error)


async def test_a_function_can_say_how_it_failed(mesh: SmallMesh, instance: Instance) -> None:
    error = await failure(mesh.agent(instance), invoke("refuse"))

    assert (error.reason, error.message, error.retryable) == (Reason.AGENT_ERROR, "the till is closed", True)
    assert error.metadata["opens"] == "8"


@pytest.mark.parametrize("function", ["leave", "end_iteration"])
async def test_no_exception_of_a_function_harms_its_agent(mesh: SmallMesh, instance: Instance, function: str) -> None:
    stub = mesh.agent(instance)

    error = await failure(stub, invoke(function))

    assert error.reason is Reason.AGENT_ERROR
    assert value((await stub.Invoke(invoke("total", {"rows": [1]}), timeout=5)).result) == 1


async def test_a_result_outside_the_schema_is_an_error_that_says_where(mesh: SmallMesh, instance: Instance) -> None:
    error = await failure(mesh.agent(instance), invoke("lie"))

    assert error.reason is Reason.AGENT_ERROR
    assert "outside its schema" in error.message
    assert [violation.field for violation in error.violations] == ["result.count"]


async def test_a_result_over_four_mebibytes_is_an_error(mesh: SmallMesh, instance: Instance) -> None:
    error = await failure(mesh.agent(instance), invoke("large"))

    assert error.reason is Reason.AGENT_ERROR
    assert "4 MiB" in error.message


async def test_a_streaming_function_is_refused_where_nobody_reads_the_stream(mesh: SmallMesh, instance: Instance) -> None:
    error = await failure(mesh.agent(instance), invoke("count", {"to": 3}))

    assert error.reason is Reason.INVALID_ARGUMENTS


async def test_a_stream_carries_items(mesh: SmallMesh, instance: Instance) -> None:
    events = [event async for event in mesh.agent(instance).InvokeStream(invoke_stream("count", {"to": 3}), timeout=5)]

    assert [value(event.item) for event in events] == [0, 1, 2]


async def test_a_generator_in_a_thread_streams_its_items_and_notes_in_order(mesh: SmallMesh, instance: Instance) -> None:
    events = [event async for event in mesh.agent(instance).InvokeStream(invoke_stream("spell", {"word": "abc"}), timeout=5)]

    said = [event.progress.message if event.HasField("progress") else value(event.item) for event in events]
    assert said == ["a", "a", "b", "b", "c", "c"]


async def test_notes_come_before_the_result(mesh: SmallMesh, instance: Instance) -> None:
    events = [event async for event in mesh.agent(instance).InvokeStream(invoke_stream("work"), timeout=5)]

    assert [event.progress.message for event in events[:-1]] == ["step 0", "step 1", "step 2"]
    assert value(events[-1].result) == "done"


async def test_a_failure_ends_a_stream_with_its_reason(mesh: SmallMesh, instance: Instance) -> None:
    with pytest.raises(ParadeError) as caught:
        async for _ in mesh.agent(instance).InvokeStream(invoke_stream("fail", {"text": "x"}), timeout=5):
            pass

    assert caught.value.reason is Reason.AGENT_ERROR


async def test_a_call_ends_at_its_deadline_and_the_function_is_cancelled(mesh: SmallMesh, instance: Instance, shop: Shop) -> None:
    error = await failure(mesh.agent(instance), invoke("wait"), timeout=0.3)

    assert error.reason is Reason.DEADLINE_EXCEEDED
    await eventually(shop.cancelled.is_set)
    await eventually(lambda: instance.capacity.in_flight == 0)


async def test_a_call_ends_at_the_timeout_of_its_function(mesh: SmallMesh, instance: Instance) -> None:
    error = await failure(mesh.agent(instance), invoke("short"))

    assert error.reason is Reason.DEADLINE_EXCEEDED
    assert "short" in error.message


@pytest.mark.parametrize("function", ["wait", "block"])
async def test_cancelling_a_call_reaches_its_function(mesh: SmallMesh, instance: Instance, shop: Shop, function: str) -> None:
    call = asyncio.create_task(mesh.agent(instance).Invoke(invoke(function), timeout=20))
    await eventually(shop.began.is_set)

    call.cancel()

    await eventually(shop.cancelled.is_set)
    await eventually(lambda: instance.capacity.in_flight == 0)


async def test_leaving_a_stream_ends_its_generator_in_a_thread(mesh: SmallMesh, instance: Instance, shop: Shop) -> None:
    stream = mesh.agent(instance).InvokeStream(invoke_stream("endless"), timeout=20)
    await anext(stream)

    await stream.aclose()

    await eventually(shop.cancelled.is_set)
    await eventually(lambda: instance.capacity.in_flight == 0)


async def test_an_instance_takes_no_more_calls_than_it_declared(mesh: SmallMesh, instance: Instance, shop: Shop) -> None:
    stub = mesh.agent(instance)
    calls = [asyncio.create_task(stub.Invoke(invoke("wait"), timeout=20)) for _ in range(2)]
    await eventually(lambda: instance.capacity.in_flight == 2)

    error = await failure(stub, invoke("total", {"rows": []}))

    assert (error.reason, error.retryable) == (Reason.NO_CAPACITY, True)
    for call in calls:
        call.cancel()
    await eventually(lambda: instance.capacity.in_flight == 0)
    assert value((await stub.Invoke(invoke("total", {"rows": [1]}), timeout=5)).result) == 1


async def test_an_agent_calls_another_through_the_dispatcher_within_its_own_deadline(mesh: SmallMesh, instance: Instance) -> None:
    await mesh.start_dispatcher()
    asking = parade.Agent("asking")

    @asking.function
    async def ask(context: parade.Context) -> Any:
        return await context.call("analyst.total", rows=[1, 2])

    @asking.function
    def ask_in_a_thread(context: parade.Context) -> Any:
        return context.wait(context.call("analyst.total", rows=[1, 2]))

    @asking.function(timeout=0.5)
    async def ask_too_long(context: parade.Context) -> Any:
        try:
            return await context.call("analyst.wait", timeout=60)
        except ParadeError as error:
            return error.reason.value

    async with asking.serving(mesh.file) as other:
        stub = mesh.agent(other)

        async def reaches() -> bool:
            try:
                return bool(value((await stub.Invoke(invoke("ask"), timeout=5)).result) == 3)
            except ParadeError:
                return False

        await eventually(reaches)  # the dispatcher hears of new instances in its own time
        assert value((await stub.Invoke(invoke("ask_in_a_thread"), timeout=5)).result) == 3
        error = await failure(stub, invoke("ask_too_long"))
        assert error.reason is Reason.DEADLINE_EXCEEDED
