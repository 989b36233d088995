"""Any one process of the mesh may be killed while a run goes on: the run ends right, and every outcome is accepted once."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from parade.client import connect
from parade.run import EventType, Run, RunEvent
from parade.testing import LocalMesh
from parade.wire.errors import ParadeError, Reason
from parade.wire.mesh_file import MeshFile
from tests.support.mesh import agent_process, kill, process_id, ready, wait_until_back
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(120)

TASKS = 12
FAN = """
name: fan
inputs:
  folder: {type: string}
steps:
  first:
    call: tested.note
    with: {folder: "${{ inputs.folder }}", name: first, seconds: 0.5}
  fan:
    call: tested.note
    needs: first
    for-each: ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"]
    max-parallel: 3
    with: {folder: "${{ inputs.folder }}", name: "${{ item }}", seconds: 0.5}
  last:
    call: tested.note
    needs: fan
    with: {folder: "${{ inputs.folder }}", name: last}
outputs:
  processes: ${{ steps.fan.output }}
"""
SLOW = """
name: slow
inputs:
  folder: {type: string}
steps:
  only:
    call: tested.note
    with: {folder: "${{ inputs.folder }}", name: only, seconds: 3}
outputs:
  process: ${{ steps.only.output }}
"""
PAYING = """
name: paying
inputs:
  folder: {type: string}
steps:
  only:
    call: tested.pay
    with: {folder: "${{ inputs.folder }}", seconds: 4}
outputs:
  answer: ${{ steps.only.output }}
"""


async def history(run: Run) -> list[RunEvent]:
    async with asyncio.timeout(60):
        return [event async for event in run.events()]


def check(events: list[RunEvent]) -> None:
    """The history has no gap, and no task of it succeeded twice."""
    accepted = [(event.step, event.task) for event in events if event.type is EventType.TASK_SUCCEEDED]
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert len(accepted) == len(set(accepted))


@pytest.mark.parametrize("service", ["agent_manager", "dispatcher", "scheduler", "gateway", "monitor"])
async def test_a_run_survives_the_death_of_a_service(own_mesh: MeshFile, tmp_path: Path, service: str) -> None:
    with agent_process(own_mesh), agent_process(own_mesh):
        async with connect(own_mesh) as mesh:
            await ready(mesh, 2)
            await mesh.put_workflow(FAN)
            run = await mesh.start("fan", folder=str(tmp_path))
            await eventually((tmp_path / "b.begun").exists, within=15)

            killed = kill(own_mesh, service)
            outputs = await run.result(timeout=60)

            events = await history(run)
            wait_until_back(own_mesh, service, killed)
    check(events)
    assert len(outputs["processes"]) == TASKS
    assert sum(event.type is EventType.TASK_SUCCEEDED for event in events) == TASKS + 2
    assert len(list(tmp_path.glob("*.ended"))) == TASKS + 2


async def test_a_step_goes_on_at_another_instance_when_its_own_is_killed(own_mesh: MeshFile, tmp_path: Path) -> None:
    with agent_process(own_mesh) as one, agent_process(own_mesh) as other:
        async with connect(own_mesh) as mesh:
            await ready(mesh, 2)
            await mesh.put_workflow(SLOW)
            run = await mesh.start("slow", folder=str(tmp_path))
            await eventually(lambda: is_written(tmp_path / "only.begun"), within=15)
            busy = int((tmp_path / "only.begun").read_text())

            (one if one.pid == busy else other).kill()
            outputs = await run.result(timeout=60)

            events = await history(run)
    check(events)
    assert outputs["process"] == ({one.pid, other.pid} - {busy}).pop()


def is_written(file: Path) -> bool:
    """Whether a file is there, with a line in it."""
    return file.exists() and file.read_text() != ""


async def test_a_step_with_effects_is_not_repeated_when_its_instance_is_killed(own_mesh: MeshFile, tmp_path: Path) -> None:
    with agent_process(own_mesh) as one, agent_process(own_mesh) as other:
        async with connect(own_mesh) as mesh:
            await ready(mesh, 2)
            await mesh.put_workflow(PAYING)
            run = await mesh.start("paying", folder=str(tmp_path))
            await eventually(lambda: is_written(tmp_path / "paid"), within=15)

            payer = int((tmp_path / "paid").read_text())
            (one if one.pid == payer else other).kill()
            with pytest.raises(ParadeError) as failed:
                await run.result(timeout=60)

    assert failed.value.reason is Reason.OUTCOME_UNKNOWN
    assert (tmp_path / "paid").read_text().split() == [str(payer)]


async def test_a_step_with_effects_goes_on_while_its_scheduler_is_killed_and_is_not_repeated(own_mesh: MeshFile, tmp_path: Path) -> None:
    with agent_process(own_mesh):
        async with connect(own_mesh) as mesh:
            await ready(mesh, 1)
            await mesh.put_workflow(PAYING)
            run = await mesh.start("paying", folder=str(tmp_path))
            await eventually(lambda: is_written(tmp_path / "paid"), within=15)

            kill(own_mesh, "scheduler")
            outputs = await run.result(timeout=60)

            check(await history(run))
    assert outputs == {"answer": "paid"}
    assert len((tmp_path / "paid").read_text().split()) == 1


async def test_a_step_with_effects_outlasts_the_graceful_stop_of_its_scheduler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARADE_SCHEDULER_DRAIN_TIMEOUT", "0.2")
    with LocalMesh(tmp_path) as file, agent_process(file):
        async with connect(file) as mesh:
            await ready(mesh, 1)
            await mesh.put_workflow(PAYING)
            run = await mesh.start("paying", folder=str(tmp_path))
            await eventually(lambda: is_written(tmp_path / "paid"), within=15)

            stopped = process_id(file, "scheduler")
            os.kill(stopped, signal.SIGTERM)
            await asyncio.to_thread(wait_until_back, file, "scheduler", stopped)
            outputs = await run.result(timeout=60)

            check(await history(run))
    assert outputs == {"answer": "paid"}
    assert len((tmp_path / "paid").read_text().split()) == 1


async def test_a_start_that_is_repeated_after_the_scheduler_was_killed_is_the_same_run(own_mesh: MeshFile, tmp_path: Path) -> None:
    with agent_process(own_mesh):
        async with connect(own_mesh) as mesh:
            await ready(mesh, 1)
            await mesh.put_workflow(FAN)
            first = await mesh.start("fan", folder=str(tmp_path), request_id="once")

            kill(own_mesh, "scheduler")
            second = await mesh.start("fan", folder=str(tmp_path), request_id="once")

            await second.result(timeout=60)
    assert first.id == second.id


async def test_an_agent_joins_again_after_the_agent_manager_was_killed(own_mesh: MeshFile) -> None:
    with agent_process(own_mesh) as instance:
        async with connect(own_mesh) as mesh:
            await ready(mesh, 1)

            killed = kill(own_mesh, "agent_manager")
            wait_until_back(own_mesh, "agent_manager", killed)
            await asyncio.to_thread(kill_and_wait, own_mesh, "dispatcher")

            await ready(mesh, 1)
            assert await mesh.call("tested.identify") == instance.pid


def kill_and_wait(mesh: MeshFile, service: str) -> None:
    wait_until_back(mesh, service, kill(mesh, service))


async def test_a_killed_instance_is_lost_within_ten_seconds(own_mesh: MeshFile) -> None:
    with agent_process(own_mesh) as instance:
        async with connect(own_mesh) as mesh:
            await ready(mesh, 1)
            instance.kill()

            async def lost() -> bool:
                return [one.state for one in (await mesh.agent("tested")).instances] == [6]

            await eventually(lost, within=10)
            with pytest.raises(ParadeError) as failed:
                await mesh.call("tested.identify", timeout=2)

    assert failed.value.reason is Reason.NO_CAPACITY
