"""Schedules of a scheduler in one piece: with definitions and by hand, over crashes, and through whichever replica."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from sqlalchemy import create_engine, text

from parade.v1 import schedule_pb2
from parade.v1 import scheduler_pb2 as pb
from parade.wire.errors import ParadeError, Reason
from parade.wire.identity import Identity
from tests.integration.scheduler_harness import World, json, put, running_world
from tests.support.waiting import eventually

STEP = {"a": {"call": "x.a", "with": {"who": "${{ inputs.who }}"}}}
INPUTS = {"who": {"type": "string", "default": "nobody"}}
NIGHTLY = {"cron": "30 2 * * *", "time-zone": "Europe/Berlin", "inputs": {"who": "ada"}}
ADA = Identity.client("ada")


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with running_world(tmp_path) as running:
        yield running


def execute(world: World, statement: str, **values: Any) -> None:
    """Changes the scheduler's database behind its back."""
    engine = create_engine(world.settings["database_url"])
    with engine.begin() as connection:
        connection.execute(text(statement), values)
    engine.dispose()


def let_be_due(world: World, name: str, time: datetime) -> None:
    """Makes a schedule stand as if nobody had seen to it since a time."""
    micros = int(time.timestamp()) * 1_000_000
    execute(world, "UPDATE schedule SET next_time = :micros WHERE name = :name", micros=micros, name=name)


async def schedules(stub: Any) -> dict[str, schedule_pb2.Schedule]:
    response = await stub.ListSchedules(pb.ListSchedulesRequest())
    return {schedule.name: schedule for schedule in response.schedules}


async def put_schedule(stub: Any, schedule: schedule_pb2.Schedule) -> schedule_pb2.Schedule:
    stored: schedule_pb2.Schedule = (await stub.PutSchedule(pb.PutScheduleRequest(schedule=schedule))).schedule
    return stored


async def runs(stub: Any) -> list[pb.Run]:
    return list((await stub.ListRuns(pb.ListRunsRequest(workflow="flow", page_size=1000))).runs)


async def test_the_schedules_of_a_definition_come_and_go_with_it(world: World) -> None:
    stub = world.stub()
    await put(stub, STEP, inputs=INPUTS, on={"schedule": [NIGHTLY, {"cron": "0 12 * * *", "catch-up": "all"}]})

    first = await schedules(stub)
    assert first.keys() == {"flow.1", "flow.2"}
    assert all(schedule.defined and schedule.workflow == "flow" for schedule in first.values())
    assert (first["flow.1"].cron, first["flow.1"].time_zone, orjson.loads(first["flow.1"].inputs.data)) == (
        "30 2 * * *",
        "Europe/Berlin",
        {"who": "ada"},
    )
    assert first["flow.2"].catch_up == schedule_pb2.CATCH_UP_ALL
    await put(stub, STEP, inputs=INPUTS, on={"schedule": {**NIGHTLY, "cron": "0 3 * * *"}})
    assert {name: schedule.cron for name, schedule in (await schedules(stub)).items()} == {"flow.1": "0 3 * * *"}
    await put(stub, STEP, inputs=INPUTS)
    assert await schedules(stub) == {}


async def test_a_schedule_of_a_definition_can_be_paused_and_nothing_else_and_stays_so_with_the_next_version(world: World) -> None:
    stub = world.stub()
    await put(stub, STEP, inputs=INPUTS, on={"schedule": NIGHTLY})
    schedule = (await schedules(stub))["flow.1"]

    schedule.paused = True
    paused = await put_schedule(stub, schedule)
    assert paused.paused
    assert paused.defined
    assert not paused.HasField("next_time")
    schedule.cron = "0 0 * * *"
    with pytest.raises(ParadeError) as caught:
        await put_schedule(stub, schedule)
    assert [violation.field for violation in caught.value.violations] == ["schedule.name"]
    with pytest.raises(ParadeError) as caught:
        await stub.DeleteSchedule(pb.DeleteScheduleRequest(name="flow.1"))
    assert caught.value.reason is Reason.FAILED_PRECONDITION

    await put(stub, STEP, inputs=INPUTS, on={"schedule": NIGHTLY}, description="the next version")
    assert (await schedules(stub))["flow.1"].paused


async def test_a_definition_whose_schedule_gives_inputs_that_cannot_be_is_refused(world: World) -> None:
    with pytest.raises(ParadeError) as caught:
        await put(world.stub(), STEP, inputs={"who": {"type": "integer"}}, on={"schedule": NIGHTLY})

    assert caught.value.reason is Reason.INVALID_ARGUMENTS

    inputs = {**INPUTS, "large": {"type": "string", "default": "x" * 70_000}}
    with pytest.raises(ParadeError, match="at most 65,536") as caught:
        await put(world.stub(), STEP, inputs=inputs, on={"schedule": NIGHTLY})

    assert [violation.field for violation in caught.value.violations] == ["on.schedule[0].inputs"]


async def test_a_schedule_starts_a_run_as_whom_has_put_it(world: World) -> None:
    ada = world.stub(ADA)
    await put(world.stub(), STEP, inputs=INPUTS)
    schedule = schedule_pb2.Schedule(name="yearly", workflow="flow", cron="0 0 1 1 *", inputs=json({"who": "ada"}))
    await put_schedule(ada, schedule)
    due = datetime.now(UTC).replace(second=0, microsecond=0)
    let_be_due(world, "yearly", due)

    call = await world.dispatcher.call("a")

    assert call.arguments == {"who": "ada"}
    [run] = await runs(ada)
    assert run.labels == {"schedule": "yearly"}
    assert call.request.origin.principal == ADA.uri

    async def noted() -> bool:
        found = (await schedules(ada))["yearly"]
        return found.last_run_id == run.id and found.last_time.ToDatetime(UTC) == due and found.next_time.ToDatetime(UTC) > due

    await eventually(noted)


@pytest.mark.parametrize(("catch_up", "expected"), [("NONE", 0), ("LAST", 1), ("ALL", 5)])
async def test_times_that_passed_while_no_scheduler_ran_are_caught_up_with_as_wanted(world: World, catch_up: str, expected: int) -> None:
    stub = world.stub()
    await put(stub, STEP, inputs=INPUTS)
    # Daily at a time two hours ago: it passed five times, none of them lately.
    hour = (datetime.now(UTC) - timedelta(hours=2)).replace(minute=0, second=0, microsecond=0)
    schedule = schedule_pb2.Schedule(
        name="daily", workflow="flow", cron=f"0 {hour.hour} * * *", catch_up=schedule_pb2.CatchUp.Value(f"CATCH_UP_{catch_up}")
    )
    await put_schedule(stub, schedule)
    await world.stop()
    let_be_due(world, "daily", hour - timedelta(days=4))

    await world.start()

    async def gone_on() -> bool:
        return (await schedules(stub))["daily"].next_time.ToDatetime(UTC) > datetime.now(UTC)

    stub = world.stub()
    await eventually(gone_on)
    assert len(await runs(stub)) == expected


async def test_a_scheduler_that_is_killed_again_and_again_starts_no_run_twice_and_leaves_none_out(world: World) -> None:
    stub = world.stub()
    await put(stub, STEP, inputs=INPUTS)
    names = [f"s-{number}" for number in range(20)]
    for name in names:
        await put_schedule(stub, schedule_pb2.Schedule(name=name, workflow="flow", cron="0 0 1 1 *", catch_up=schedule_pb2.CATCH_UP_ALL))
    await world.stop()
    year = datetime.now(UTC).year
    for name in names:
        let_be_due(world, name, datetime(year - 2, 1, 1, tzinfo=UTC))

    for moment in (0.0, 0.01, 0.03, 0.08, 0.2):
        await world.start_process()
        await asyncio.sleep(moment)
        await world.kill()
    await world.start_process()
    stub = world.stub()

    async def all_started() -> bool:
        return all(one.next_time.ToDatetime(UTC).year == year + 1 for one in (await schedules(stub)).values())

    await eventually(all_started, within=15)
    labels = sorted(run.labels["schedule"] for run in await runs(stub))
    assert labels == sorted(names * 3)
