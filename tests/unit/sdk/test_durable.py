"""Durable functions alone: what their context gives, and what it refuses."""

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from pydantic import BaseModel

import parade
from parade.durable.ask import Ask
from parade.durable.definition import function_of
from parade.durable.errors import ForeignWaitError
from parade.testing import NEVER, replay
from parade.wire.errors import ParadeError, Reason


class Plan(BaseModel):
    city: str
    hotel: str


@parade.workflow
async def trip(ctx: parade.WorkflowContext, city: str, nights: int = 1) -> Plan:
    """Books a trip."""
    hotel = await ctx.call("hotel.book", city=city, nights=nights)
    return Plan(city=city, hotel=hotel["reference"])


def workflow_of(body: Callable[..., Any]) -> Callable[..., Any]:
    @parade.workflow
    async def flow(ctx: parade.WorkflowContext) -> Any:
        return await body(ctx)

    return flow


def echo(ask: Ask) -> Any:
    return ask.name


def test_it_asks_is_answered_and_returns() -> None:
    played = replay(trip, {"city": "Rome"}, {"hotel.book": lambda city, nights: {"reference": f"{city} for {nights}"}})

    assert played.result == {"city": "Rome", "hotel": "Rome for 1"}
    assert [str(ask) for ask in played.asks] == ["a call of `hotel.book`"]
    assert played.asks[0].words == {"arguments": {"city": "Rome", "nights": 1}}


def test_its_own_arguments_are_checked() -> None:
    with pytest.raises(ParadeError) as raised:
        replay(trip, {"nights": "many"})

    assert raised.value.reason is Reason.INVALID_ARGUMENTS
    assert {violation.field for violation in raised.value.violations} == {"arguments.city", "arguments.nights"}


def test_a_result_of_another_type_is_its_failure() -> None:
    @parade.workflow
    async def flow(ctx: parade.WorkflowContext) -> int:
        return await ctx.call("a.b")  # type: ignore[no-any-return]

    with pytest.raises(ParadeError, match="outside its schema"):
        replay(flow, {}, {"a.b": "no number"})


def test_what_it_asks_for_fails_as_an_error_of_the_mesh() -> None:
    async def body(ctx: parade.WorkflowContext) -> Any:
        try:
            await ctx.call("hotel.book")
        except ParadeError as error:
            return [error.reason, error.message, error.metadata["room"], error.retryable]

    played = replay(workflow_of(body), {}, {"hotel.book": parade.FunctionError("full", details={"room": 7}, retryable=True)})

    assert played.result == ["AGENT_ERROR", "full", "7", True]


def test_time_passes_by_timers_and_is_the_same_in_every_turn() -> None:
    async def body(ctx: parade.WorkflowContext) -> Any:
        before = ctx.now()
        await ctx.sleep(timedelta(days=30))
        between = ctx.now()
        await ctx.call("a.b")
        return [before.isoformat(), (between - before).days, ctx.now() > between]

    played = replay(workflow_of(body), {}, echo, start=datetime(2026, 3, 4, tzinfo=UTC))

    assert played.result == ["2026-03-04T00:00:00+00:00", 30, True]
    assert played.time - datetime(2026, 3, 4, tzinfo=UTC) >= timedelta(days=30)


def test_chance_and_ids_hang_on_the_run_alone() -> None:
    async def body(ctx: parade.WorkflowContext) -> Any:
        first = [ctx.random().random(), str(ctx.uuid()), ctx.run_id]
        await ctx.call("a.b")
        return [*first, ctx.random().random(), str(ctx.uuid())]

    flow = workflow_of(body)

    assert replay(flow, {}, echo, run_id="run-1").result == replay(flow, {}, echo, run_id="run-1").result
    assert replay(flow, {}, echo, run_id="run-1").result[:2] != replay(flow, {}, echo, run_id="run-2").result[:2]


def test_a_child_run_a_signal_and_an_approval() -> None:
    async def body(ctx: parade.WorkflowContext) -> Any:
        report = await ctx.run("sales-report", year=2026)
        signal = await ctx.wait_signal("go", timeout=5)
        approval = await ctx.wait_approval("Spend it?", approvers=["spiffe://parade.local/ns/default/client/*"], timeout=60)
        return [report, signal, approval.by, approval.note]

    answers = {"sales-report": lambda year: {"year": year}, "go": "now", "Spend it?": {"approved": True, "by": "me", "note": "fine"}}
    played = replay(workflow_of(body), {}, answers)

    assert played.result == [{"year": 2026}, "now", "me", "fine"]
    assert [ask.to_json() for ask in played.asks] == [
        {"index": 1, "kind": "RUN", "name": "sales-report", "digest": played.asks[0].digest, "arguments": {"year": 2026}},
        {"index": 2, "kind": "SIGNAL", "name": "go", "digest": played.asks[1].digest, "timeout": 5.0},
        {
            "index": 3,
            "kind": "APPROVAL",
            "name": "",
            "digest": played.asks[2].digest,
            "message": "Spend it?",
            "approvers": ["spiffe://parade.local/ns/default/client/*"],
            "timeout": 60.0,
        },
    ]


def test_a_signal_that_does_not_come_in_time() -> None:
    async def body(ctx: parade.WorkflowContext) -> Any:
        try:
            return await ctx.wait_signal("go", timeout=timedelta(hours=1))
        except ParadeError as error:
            return error.reason

    assert replay(workflow_of(body), {}, {"go": NEVER}).result == "DEADLINE_EXCEEDED"


def test_waiting_for_ever_fails_the_test() -> None:
    with pytest.raises(LookupError, match="waits for ever for the signal `go`"):
        replay(workflow_of(lambda ctx: ctx.wait_signal("go")), {}, {"go": NEVER})


def test_a_missing_answer_is_named() -> None:
    with pytest.raises(LookupError, match=r"a call of `hotel\.book`"):
        replay(trip, {"city": "Rome"}, {})


def test_how_often_a_call_is_tried_and_how_long_it_may_take_goes_along() -> None:
    retry = parade.Retry(attempts=3, delay="2s", max_delay="30s")

    played = replay(workflow_of(lambda ctx: ctx.call("a.b", {"timeout": 1}, timeout=2.5, retry=retry)), {}, echo)

    assert played.asks[0].words == {
        "arguments": {"timeout": 1},
        "timeout": 2.5,
        "retry": {"attempts": 3, "delay": "2s", "max-delay": "30s"},
    }


@pytest.mark.parametrize("duration", [float("nan"), float("inf"), "5", True, 366 * 86400 + 1])
def test_a_duration_that_is_none_is_refused(duration: Any) -> None:
    with pytest.raises(ParadeError, match="must be a number of seconds"):
        replay(workflow_of(lambda ctx: ctx.sleep(duration)))


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (lambda ctx: ctx.call(trip), 'it must be the full name of a function, such as "agent.function"'),
        (lambda ctx: ctx.run(trip), "it must be the name of a workflow, or the full name of a durable function"),
        (lambda ctx: ctx.wait_signal(1), "is 1; it must be the name of a signal"),
    ],
)
def test_what_is_no_name_is_refused(body: Callable[..., Any], told: str) -> None:
    with pytest.raises(ParadeError) as raised:
        replay(workflow_of(body))

    assert raised.value.reason is Reason.INVALID_ARGUMENTS
    assert told in raised.value.violations[0].description


# ---------------------------------------------------------------------------------------------------- several at a time


def test_gather_asks_at_once_and_returns_in_order() -> None:
    async def body(ctx: parade.WorkflowContext) -> Any:
        async def twice(name: str) -> Any:
            return [await ctx.call(name), await ctx.call(name + "2")]

        return await ctx.gather(twice("a.a"), ctx.call("b.b"), twice("c.c"))

    played = replay(workflow_of(body), {}, echo)

    assert played.result == [["a.a", "a.a2"], "b.b", ["c.c", "c.c2"]]
    assert [ask.name for ask in played.asks] == ["a.a", "b.b", "c.c", "a.a2", "c.c2"]


def test_nothing_to_gather_is_nothing_to_wait_for() -> None:
    assert replay(workflow_of(lambda ctx: ctx.gather())).result == []


def test_the_first_failure_ends_the_others_and_lets_them_clean_up() -> None:
    async def body(ctx: parade.WorkflowContext) -> Any:
        cleaned = []

        async def careful() -> None:
            try:
                await ctx.wait_signal("never")
            finally:
                cleaned.append(await ctx.call("a.clean"))

        try:
            await ctx.gather(careful(), ctx.call("a.fails"))
        except ParadeError as error:
            return [error.message, cleaned]

    answers = {"never": NEVER, "a.fails": parade.FunctionError("broken"), "a.clean": "clean"}

    assert replay(workflow_of(body), {}, answers).result == ["broken", ["clean"]]


def test_the_first_to_succeed_wins_a_race_and_the_others_are_given_up() -> None:
    async def body(ctx: parade.WorkflowContext) -> Any:
        winner = await ctx.race(ctx.call("a.fails"), ctx.wait_signal("go"), ctx.sleep(60), ctx.call("a.works"))
        return [winner.index, winner.value, await ctx.call("a.after")]

    answers = {"a.fails": parade.FunctionError("broken"), "go": NEVER, "a.works": 5, "a.after": 6}

    assert replay(workflow_of(body), {}, answers).result == [3, 5, 6]


def test_a_race_that_all_lose_fails_with_the_first_failure() -> None:
    async def body(ctx: parade.WorkflowContext) -> Any:
        await ctx.race(ctx.call("a.one"), ctx.call("a.two"))

    with pytest.raises(ParadeError, match="first"):
        replay(workflow_of(body), {}, {"a.one": parade.FunctionError("first"), "a.two": parade.FunctionError("second")})


def test_a_race_of_nobody_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="takes part"):
        replay(workflow_of(lambda ctx: ctx.race()))


# ------------------------------------------------------------------------------------------------- what is not the context's


async def _sleeps(ctx: parade.WorkflowContext) -> None:
    await ctx.call("a.b")
    await asyncio.sleep(1)  # the line


async def _yields(ctx: parade.WorkflowContext) -> None:
    await asyncio.sleep(0)  # the line


async def _swallows(ctx: parade.WorkflowContext) -> None:
    with suppress(Exception):
        await asyncio.sleep(1)  # the line


async def _makes_a_task(ctx: parade.WorkflowContext) -> None:
    task = asyncio.create_task(asyncio.sleep(0, "never awaited")) if ctx.run_id == "" else None
    await asyncio.to_thread(print, task)  # the line


async def _connects(ctx: parade.WorkflowContext) -> None:
    await asyncio.open_connection("127.0.0.1", 1)  # the line


async def _in_a_branch(ctx: parade.WorkflowContext) -> None:
    async def inner() -> None:
        await asyncio.sleep(0.1)  # the line

    await ctx.gather(ctx.call("a.b"), inner())


@pytest.mark.parametrize("body", [_sleeps, _yields, _swallows, _makes_a_task, _connects, _in_a_branch])
def test_a_wait_that_is_not_the_contexts_is_an_error_that_names_its_line(body: Callable[..., Any]) -> None:
    lines = Path(__file__).read_text().splitlines()
    start = body.__code__.co_firstlineno
    line = next(number for number in range(start, len(lines)) if "# the line" in lines[number - 1])

    with pytest.raises(ForeignWaitError, match=rf"test_durable\.py, line {line}: a durable function waits only"):
        replay(workflow_of(body), {}, echo)


async def test_the_loop_that_runs_it_is_as_before() -> None:
    with pytest.raises(ForeignWaitError):
        replay(workflow_of(_sleeps), {}, echo)

    await asyncio.sleep(0)
    assert asyncio.get_running_loop().is_running()
    socket.socket().close()


# ------------------------------------------------------------------------------------------------------- how it is written


def test_it_becomes_a_function_of_its_agent_with_the_schemas_of_a_turn() -> None:
    agent = parade.Agent("travel")

    assert agent.workflow(trip) is trip

    function = agent.functions["trip"]
    assert function.durable
    assert (function.effect, function.description) == ("pure", "Books a trip.")
    arguments = orjson.loads(function.arguments_schema)
    assert arguments["properties"]["arguments"]["required"] == ["city"]
    result = orjson.loads(function.result_schema)
    assert result["anyOf"][0]["properties"]["result"]["required"] == ["city", "hotel"]


def test_definitions_of_types_stay_where_their_references_look_for_them() -> None:
    @parade.workflow
    async def plans(ctx: parade.WorkflowContext, plan: Plan, others: list[Plan]) -> list[Plan]:
        return [plan, *others]

    arguments = orjson.loads(function_of(plans).arguments_schema)

    assert arguments["properties"]["arguments"]["properties"]["plan"] == {"$ref": "#/$defs/Plan"}
    assert "Plan" in arguments["$defs"]
    assert "Plan" in orjson.loads(function_of(plans).result_schema)["$defs"]


def test_a_name_and_a_description_of_its_own() -> None:
    agent = parade.Agent("travel")

    @agent.workflow(name="journey", description="Goes away.")
    async def flow(ctx: parade.WorkflowContext) -> None: ...

    assert agent.functions["journey"].description == "Goes away."
    with pytest.raises(ValueError, match="has a function 'journey' already"):
        agent.workflow(name="journey")(flow)


def _not_a_coroutine(ctx: parade.WorkflowContext) -> int:
    return 1


async def _streams(ctx: parade.WorkflowContext) -> Any:
    yield 1


async def _without_context(city: str) -> int:
    return 1


async def _with_another_context(ctx: parade.Context) -> int:
    return 1


@pytest.mark.parametrize(
    ("handler", "message"),
    [
        (_not_a_coroutine, "`async def`"),
        (_streams, "`async def`"),
        (_without_context, "takes its context"),
        (_with_another_context, r"parameter 'ctx'|takes its context"),
    ],
)
def test_what_cannot_be_a_workflow_is_refused_where_it_is_written(handler: Callable[..., Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        parade.workflow(handler)
