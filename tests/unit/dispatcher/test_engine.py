"""Many calls at once, ending in every way there is: places are never lost, bounds never passed, effects never repeated."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Collection
from contextlib import aclosing, suppress
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, NumberDataPoint

from parade.wire.errors import ParadeError, Reason
from parade.wire.identity import Identity
from parade_chassis.clock import ManualClock
from parade_chassis.ids import Ids
from parade_dispatcher.choice import Choice
from parade_dispatcher.engine import Engine
from parade_dispatcher.measurements import Measurements
from parade_dispatcher.model import Agent, Assigned, Call, Effect, Function, Instance, Item, LostError, Request, Said
from parade_dispatcher.schemas import Schemas

FUNCTIONS = {
    "read": Function("read", effect=Effect.PURE, timeout=0.05),
    "write": Function("write", effect=Effect.EFFECT, timeout=0.05),
    "rows": Function("rows", effect=Effect.PURE, timeout=0.05, streaming=True),
}
INSTANCES = [
    Instance(f"i{number}", "default", "store", "127.0.0.1:1", "test", max_concurrency=number + 1, functions=FUNCTIONS)
    for number in range(3)
]
OUTCOMES = ("answer", "lost before", "lost after", "full", "raise", "bad", "hang")


class Everything:
    """What is known: one agent with three instances."""

    async def synced(self, limit: float) -> bool:
        return True

    def agent(self, namespace: str, name: str) -> Agent | None:
        return Agent(namespace, name, functions=FUNCTIONS)

    def instances(self, namespace: str, agent: str) -> Collection[Instance]:
        return INSTANCES

    def functions(self, namespace: str) -> list[str]:
        return []


class Chance:
    """Instances that answer as the drawn outcomes say, one after the other."""

    def __init__(self, outcomes: list[str]) -> None:
        self._outcomes = iter(outcomes)
        self.running: Counter[str] = Counter()
        self.highest: Counter[str] = Counter()
        self.may_have_run: Counter[str] = Counter()

    async def invoke(self, instance: Instance, call: Call, timeout: float) -> bytes:
        self.running[instance.id] += 1
        self.highest[instance.id] = max(self.highest[instance.id], self.running[instance.id])
        outcome = next(self._outcomes, "answer")
        self.may_have_run[call.id] += outcome not in ("lost before", "full")
        try:
            await asyncio.sleep(0)
            match outcome:
                case "lost before" | "lost after":
                    raise LostError("gone", sent=outcome == "lost after")
                case "full":
                    raise ParadeError(Reason.NO_CAPACITY, "full")
                case "raise":
                    raise ParadeError(Reason.AGENT_ERROR, "no")
                case "hang":
                    await asyncio.Event().wait()
        finally:
            self.running[instance.id] -= 1
        return b"" if outcome == "bad" else b"1"

    async def stream(self, instance: Instance, call: Call, timeout: float) -> AsyncGenerator[Said, None]:
        yield Item(await self.invoke(instance, call, timeout))


def request(function: str) -> Request:
    return Request("store", function, b"{}", Identity.client("dev"), "default", "spiffe://test")


def engine(reach: Chance, choice: Choice, reader: InMemoryMetricReader | None = None) -> Engine:
    meter = MeterProvider([reader] if reader else [], shutdown_on_exit=False).get_meter("test")
    return Engine(Everything(), reach, choice, Schemas(1000), Ids(ManualClock()), Measurements(meter))


async def one(engine: Engine, function: str) -> None:
    with suppress(ParadeError):
        if function == "rows":
            async with aclosing(engine.stream(request(function))) as events:
                async for event in events:
                    if isinstance(event, Item):
                        break  # a reader that goes away
        else:
            await engine.call(request(function))


@settings(max_examples=40, deadline=None)
@given(
    outcomes=st.lists(st.sampled_from(OUTCOMES), max_size=40),
    functions=st.lists(st.sampled_from(sorted(FUNCTIONS)), min_size=1, max_size=20),
    cancelled=st.sets(st.integers(0, 19)),
)
def test_whatever_happens_places_come_back_bounds_hold_and_effects_run_once(
    outcomes: list[str], functions: list[str], cancelled: set[int]
) -> None:
    async def story() -> None:
        reach, choice = Chance(outcomes), Choice(ManualClock(), Random(3))  # noqa: S311 - the same draws in every run
        made = engine(reach, choice)
        tasks = [asyncio.create_task(one(made, function)) for function in functions]
        await asyncio.sleep(0)
        for number in cancelled & set(range(len(tasks))):
            tasks[number].cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)

        assert all(result is None or isinstance(result, asyncio.CancelledError) for result in results), results
        assert [choice.outstanding(instance.id) for instance in INSTANCES] == [0, 0, 0]
        assert all(reach.highest[instance.id] <= instance.max_concurrency for instance in INSTANCES)

    asyncio.run(story())


@settings(max_examples=40, deadline=None)
@given(outcomes=st.lists(st.sampled_from(OUTCOMES), max_size=6))
def test_an_effect_never_runs_twice(outcomes: list[str]) -> None:
    reach = Chance(outcomes)

    asyncio.run(one(engine(reach, Choice(ManualClock(), Random(3))), "write"))  # noqa: S311 - the same draws in every run

    assert all(count <= 1 for count in reach.may_have_run.values())


async def test_every_attempt_is_measured_by_function_instance_and_outcome() -> None:
    reader = InMemoryMetricReader()
    made = engine(Chance(["lost before", "answer"]), Choice(ManualClock(), Random(3)), reader)  # noqa: S311 - the same draws in every run

    await made.call(request("read"))

    data = reader.get_metrics_data()
    assert data is not None
    metrics = {metric.name: metric for metric in data.resource_metrics[0].scope_metrics[0].metrics}
    points = [point for point in metrics["parade.calls"].data.data_points if isinstance(point, NumberDataPoint)]
    attributes = [dict(point.attributes or {}) for point in points]
    assert sorted(str(each["parade.outcome"]) for each in attributes) == ["AGENT_LOST", "OK"]
    assert {each["parade.function"] for each in attributes} == {"store.read"}
    assert len({each["parade.instance"] for each in attributes}) == 2
    assert "parade.call.duration" in metrics


async def test_the_first_event_of_a_stream_is_its_assignment() -> None:
    made = engine(Chance([]), Choice(ManualClock(), Random(3)))  # noqa: S311 - the same draws in every run

    async with aclosing(made.stream(request("rows"))) as events:
        first = await anext(events)

    assert isinstance(first, Assigned)
