"""The scheduler dies between what starts a run or lets one go on and the note of it: nothing of it is lost, and nothing happens twice."""

import asyncio
import random
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from parade.v1 import schedule_pb2
from parade.v1 import scheduler_pb2 as pb
from parade.wire.errors import ParadeError
from parade_scheduler.crash_points import TRIGGER_POINTS
from tests.integration.scheduler_harness import Call, World, json, put, running_world

LIMIT = 2
"""How many runs of the group may go on at once."""
PATIENCE = 30.0
"""Seconds for which the scheduler may give no answer."""
LEAP_DAYS = "0 0 29 2 *"
"""Times of a schedule that do not come while the test runs, so that only those come that it makes up."""

FLOW = {"a": {"call": "x.a"}, "b": {"wait": {"event": {"type": "done", "if": "event.of == inputs.of"}}, "needs": "a"}}
STARTS = {"event": {"type": "go", "with": {"of": "${{ event.of }}"}}}


async def insist(ask: Callable[[], Awaitable[Any]]) -> Any:
    """Asks until there is an answer."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                return await ask()
            except ParadeError:
                await asyncio.sleep(0.05)


class Use:
    """What goes on while the scheduler dies, and what must hold of it."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._stub = world.stub()
        self.events = 0
        self.times = 0
        self.most = 0
        self._first = datetime.now(UTC) - timedelta(hours=1)
        self._answers: set[asyncio.Task[None]] = set()
        world.dispatcher.auto = self._take

    async def begin(self) -> None:
        inputs = {"of": {"type": "integer", "default": 0}}
        await insist(lambda: put(self._stub, FLOW, inputs=inputs, on=STARTS, concurrency={"group": "g", "limit": LIMIT}))
        source = '{"name": "timed", "steps": {"t": {"call": "x.b"}}}'
        await insist(lambda: self._stub.PutWorkflow(pb.PutWorkflowRequest(source=source)))
        schedule = schedule_pb2.Schedule(name="s", workflow="timed", cron=LEAP_DAYS)
        await insist(lambda: self._stub.PutSchedule(pb.PutScheduleRequest(schedule=schedule)))

    async def go_on(self) -> None:
        """Publishes an event that starts a run, one that lets it go on, and lets the schedule be due another time."""
        number = self.events
        await self._publish("go", f"go-{number}", number)
        self.events += 1
        found = (await insist(lambda: self._stub.GetSchedule(pb.GetScheduleRequest(name="s")))).schedule
        if found.next_time.ToDatetime(UTC) > datetime.now(UTC):
            self._let_be_due(self._first + timedelta(seconds=self.times))
            self.times += 1
        await self._let_waiting_go_on()

    async def check(self) -> None:
        """Waits until all has come about, and demands that it has once."""
        async with asyncio.timeout(PATIENCE + self.events):
            while len(ended := await self._runs("flow", pb.RUN_STATE_SUCCEEDED)) < self.events:
                await self._let_waiting_go_on()
                await asyncio.sleep(0.1)
            while len(await self._runs("timed", pb.RUN_STATE_SUCCEEDED)) < self.times:
                await asyncio.sleep(0.1)
        assert sorted(run.labels["event"] for run in await self._runs("flow")) == sorted(f"go-{number}" for number in range(self.events))
        assert len(ended) == self.events
        assert len(await self._runs("timed")) == self.times
        assert self.most <= LIMIT

    async def _let_waiting_go_on(self) -> None:
        """Publishes what the runs that go on wait for, again where it was published before: it is another run's or known."""
        for run in await self._runs("flow", pb.RUN_STATE_RUNNING):
            request = pb.GetRunRequest(run_id=run.id)
            whole = (await insist(partial(self._stub.GetRun, request))).run
            if whole.steps[1].state == pb.STEP_STATE_RUNNING:
                number = int(run.labels["event"].removeprefix("go-"))
                await self._publish("done", f"done-{number}", number)

    async def _publish(self, type: str, id: str, of: int) -> None:
        request = pb.PublishEventRequest(type=type, event_id=id, value=json({"of": of}))
        await insist(lambda: self._stub.PublishEvent(request))

    async def _runs(self, workflow: str, *states: pb.RunState.ValueType) -> list[pb.Run]:
        request = pb.ListRunsRequest(workflow=workflow, states=states, page_size=1000)
        return list((await insist(lambda: self._stub.ListRuns(request))).runs)

    def _let_be_due(self, time: datetime) -> None:
        with closing(sqlite3.connect(self._world.settings["database_url"].removeprefix("sqlite:///"), timeout=10)) as database:
            database.execute("UPDATE schedule SET next_time = ?", (int(time.timestamp()) * 1_000_000,))
            database.commit()

    def _take(self, call: Call) -> None:
        grouped = {other.run_id for other in self._world.dispatcher.calls if not other.ended and other.step == "a"}
        self.most = max(self.most, len(grouped))
        task = asyncio.create_task(self._answer(call))
        self._answers.add(task)
        task.add_done_callback(self._answers.discard)

    async def _answer(self, call: Call) -> None:
        await asyncio.sleep(0.01)
        call.succeed(1)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("times", [1, pytest.param(20, marks=pytest.mark.full)])
@pytest.mark.parametrize("point", sorted(TRIGGER_POINTS))
async def test_what_starts_runs_and_lets_them_go_on_does_so_once(tmp_path: Path, point: str, times: int) -> None:
    log, chance = tmp_path / "crashes", random.Random(point)  # noqa: S311  # the same test every time
    async with running_world(tmp_path) as world:
        await world.stop()
        use = Use(world)

        async def living() -> None:
            for number in range(1, times + 1):
                await world.start_process(PARADE_CRASH_AT=f"{point}:{chance.randint(1, 3)}", PARADE_CRASH_LOG=str(log))
                await world.died()
                # The fault must be seen to have come, or the test is void.
                assert len(log.read_text().split()) == number, world.words()
            await world.start_process()

        process = asyncio.create_task(living())
        await use.begin()
        while not process.done():
            await use.go_on()
            await asyncio.sleep(0.1)
        await process
        await use.check()

    assert use.events
