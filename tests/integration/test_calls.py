"""Calls over the whole mesh as a client makes them: options, outcomes, long calls, cancellation, streams, artifacts."""

import asyncio
import hashlib
import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path

import psutil
import pytest

import parade
from parade.client import Mesh, connect
from parade.started_call import state_of
from parade.sync import connect as connect_blocking
from parade.wire.mesh_file import MeshFile
from tests.support.mesh import agent_process, kill, ready, wait_until_back
from tests.support.waiting import eventually

MIB = 1024 * 1024
PRESENT = 20.0
"""Seconds in which everything here that has an end has come to it."""

pytestmark = pytest.mark.timeout(90)


@pytest.fixture(scope="module")
def working_mesh(shared_mesh: MeshFile) -> Iterator[MeshFile]:
    with agent_process(shared_mesh, "tests.support.working_agent:agent"):
        yield shared_mesh


@pytest.fixture
async def mesh(working_mesh: MeshFile) -> AsyncIterator[Mesh]:
    async with connect(working_mesh) as client:
        await ready(client, 1, "worker")
        await known(client)
        yield client


async def known(mesh: Mesh) -> None:
    """Waits until the dispatcher knows the agent."""

    async def answers() -> bool:
        try:
            return bool(await mesh.call("worker.nap", seconds=0) == "slept")
        except parade.ParadeError:
            return False

    await eventually(answers, within=15)


# ------------------------------------------------------------------------------------------------------------------ calls


async def test_an_outcome_says_where_the_time_went(mesh: Mesh) -> None:
    began = time.perf_counter()
    outcome = await mesh.outcome("worker.nap", seconds=0.3)
    took = time.perf_counter() - began

    assert outcome.value == "slept"
    assert outcome.call_id
    assert outcome.instance_id
    assert outcome.timing.executing >= 0.29
    assert outcome.timing.queued >= 0
    assert outcome.timing.total <= took + 0.001


async def test_progress_comes_with_an_outcome(mesh: Mesh) -> None:
    notes: list[parade.Progress] = []

    outcome = await mesh.outcome("worker.steps", count=3, seconds=0.1, progress=notes.append)

    assert outcome.value == 3
    assert notes[-1] == parade.Progress(1, "step 3")


async def test_an_effect_happens_once_for_a_key(mesh: Mesh, tmp_path: Path) -> None:
    options = parade.CallOptions(idempotency_key=f"order-{tmp_path}")

    answers = await asyncio.gather(*(mesh.call("worker.pay", folder=str(tmp_path), seconds=0.2, options=options) for _ in range(3)))
    again = await mesh.call("worker.pay", folder=str(tmp_path), seconds=0.2, options=options)

    assert [*answers, again] == ["paid"] * 4
    assert (tmp_path / "paid").read_text() == "paid\n"


async def test_a_key_is_good_for_one_thing(mesh: Mesh, tmp_path: Path) -> None:
    options = parade.CallOptions(idempotency_key=f"order-{tmp_path}")
    await mesh.call("worker.pay", folder=str(tmp_path), options=options)

    with pytest.raises(parade.ParadeError) as refused:
        await mesh.call("worker.pay", folder=str(tmp_path), seconds=0.1, options=options)

    assert refused.value.reason is parade.Reason.ALREADY_EXISTS


async def test_labels_that_no_instance_carries_find_none(mesh: Mesh) -> None:
    with pytest.raises(parade.ParadeError) as refused:
        await mesh.call("worker.nap", seconds=0, timeout=2, options=parade.CallOptions(labels={"gpu": "yes"}))

    assert refused.value.reason is parade.Reason.NO_CAPACITY


async def test_an_argument_that_is_named_as_an_option(mesh: Mesh) -> None:
    with pytest.raises(parade.ParadeError, match="mapping of arguments"):
        await mesh.call("worker.nap", options={"seconds": 1})  # type: ignore[arg-type]


async def test_who_stops_waiting_ends_the_calls_below_too(mesh: Mesh, tmp_path: Path) -> None:
    waiting = asyncio.create_task(mesh.call("worker.ask_and_note", folder=str(tmp_path)))
    await eventually((tmp_path / "begun").exists, within=PRESENT)

    waiting.cancel()

    await eventually((tmp_path / "ended").exists, within=5)


async def test_a_stream_is_read_at_the_readers_pace(mesh: Mesh, tmp_path: Path) -> None:
    made = tmp_path / "made"
    async with aclosing(mesh.stream("worker.rows", to=5_000, size=10_000, folder=str(tmp_path))) as rows:  # type: ignore[type-var]
        await anext(rows)
        await mesh.call("worker.nap", seconds=0.5)
        held = int(made.read_text())
        assert held < 400
        for _ in range(500):
            await anext(rows)
        await eventually(lambda: int(made.read_text()) > held)

    before = await settled(made)
    assert before < 5_000


async def settled(made: Path) -> int:
    """Waits until nothing more is made, and returns how much was."""
    seen = -1

    def same() -> bool:
        nonlocal seen
        before, seen = seen, int(made.read_text() or 0)
        return before == seen

    await eventually(same, within=PRESENT)
    return seen


# ------------------------------------------------------------------------------------------------------------- long calls


async def test_a_call_that_was_started_is_picked_up_elsewhere(mesh: Mesh, working_mesh: MeshFile) -> None:
    started = await mesh.start_call("worker.steps", {"count": 4}, seconds=0.2)

    async with connect(working_mesh) as other:
        call = other.started_call(started.id)
        notes = [note async for note in call.progress()]
        assert await call.result(timeout=PRESENT) == 4
        status = await call.status()

    assert notes[-1].fraction > 0
    assert (status.function, state_of(status)) == ("worker.steps", parade.CallState.SUCCEEDED)
    assert status.instance_id
    assert status.timing.executing.ToNanoseconds() > 0.7e9


async def test_it_outlives_its_client(mesh: Mesh, working_mesh: MeshFile) -> None:
    async with connect(working_mesh) as other:
        started = await other.start_call("worker.nap", seconds=1)

    assert await mesh.started_call(started.id).result(timeout=PRESENT) == "slept"


async def test_its_items_come_from_the_first_for_every_reader(mesh: Mesh) -> None:
    started = await mesh.start_call("worker.numbers", to=30, seconds=0.02)

    early, late = await asyncio.gather(numbers(started), numbers(mesh.started_call(started.id), after=10))

    assert early == list(range(30))
    assert late == list(range(10, 30))
    assert await numbers(started) == early
    assert await started.result() is None


async def numbers(call: parade.StartedCall, after: int = 0) -> list[int]:
    return [item async for item in call.items(after)]


async def test_its_failure_comes_out_as_it_was(mesh: Mesh) -> None:
    started = await mesh.start_call("worker.fail", message="no such row")

    with pytest.raises(parade.ParadeError, match="no such row") as failed:
        await started.result(timeout=PRESENT)

    assert failed.value.reason is parade.Reason.AGENT_ERROR
    assert failed.value.metadata["exception_type"] == "LookupError"


async def test_a_coroutine_is_stopped(mesh: Mesh) -> None:
    started = await mesh.start_call("worker.nap", seconds=60)
    await running(started)

    reached = await started.cancel(timeout=PRESENT)

    assert reached is parade.CancellationState.STOPPED
    with pytest.raises(parade.ParadeError) as ended:
        await started.result(timeout=PRESENT)
    assert ended.value.reason is parade.Reason.CANCELLED


async def test_a_thread_is_not_stopped_and_that_is_said(mesh: Mesh) -> None:
    started = await mesh.start_call("worker.stubborn", seconds=3)
    await running(started)

    assert await started.cancel(timeout=PRESENT) is parade.CancellationState.COULD_NOT_STOP


async def test_what_has_ended_stays_as_it_is(mesh: Mesh) -> None:
    started = await mesh.start_call("worker.nap", seconds=0)
    await started.result(timeout=PRESENT)

    assert await started.cancel() is None
    assert await started.result() == "slept"


async def running(call: parade.StartedCall) -> None:
    async def runs() -> bool:
        return bool((await call.status()).instance_id)

    await eventually(runs, within=PRESENT)


async def test_a_wait_that_is_too_short_says_that_the_call_goes_on(mesh: Mesh) -> None:
    started = await mesh.start_call("worker.nap", seconds=2)

    with pytest.raises(parade.ParadeError, match="it goes on") as late:
        await started.result(timeout=0.2)

    assert late.value.reason is parade.Reason.DEADLINE_EXCEEDED
    assert await started.result(timeout=PRESENT) == "slept"


async def test_a_call_that_nobody_started_is_not_found(mesh: Mesh) -> None:
    for ask in (mesh.started_call("call-unknown").status, mesh.started_call("call-unknown").result):
        with pytest.raises(parade.ParadeError) as failed:
            await ask()
        assert failed.value.reason is parade.Reason.NOT_FOUND


async def test_calls_are_listed_newest_first(mesh: Mesh) -> None:
    first = await mesh.start_call("worker.nap", seconds=0)
    await first.result(timeout=PRESENT)
    second = await mesh.start_call("worker.fail", message="no")
    await second.wait(timeout=PRESENT)

    every = [call.id for call in await mesh.calls(function="worker")]
    failed = await mesh.calls(function="worker.fail", states=[parade.CallState.FAILED], limit=1)

    assert every.index(second.id) < every.index(first.id)
    assert [call.id for call in failed] == [second.id]
    assert not failed[0].HasField("arguments")


async def test_an_unknown_function_is_refused_when_it_is_started(mesh: Mesh) -> None:
    with pytest.raises(parade.ParadeError) as refused:
        await mesh.start_call("worker.nothing")

    assert refused.value.reason is parade.Reason.UNKNOWN_FUNCTION


async def test_waiting_goes_on_over_a_restart_of_the_dispatcher(own_mesh: MeshFile) -> None:
    with agent_process(own_mesh, "tests.support.working_agent:agent"):
        async with connect(own_mesh) as mesh:
            await ready(mesh, 1, "worker")
            await known(mesh)
            started = await mesh.start_call("worker.nap", seconds=4)
            await running(started)
            waiting = asyncio.create_task(started.result(timeout=60))

            killed = await asyncio.to_thread(kill, own_mesh, "dispatcher")
            await asyncio.to_thread(wait_until_back, own_mesh, "dispatcher", killed)

            assert await waiting == "slept"
            await known(mesh)


# -------------------------------------------------------------------------------------------------------------- artifacts


async def test_an_artifact_is_read_by_an_agent(mesh: Mesh, tmp_path: Path) -> None:
    content = os.urandom(3 * MIB + 5)
    source = tmp_path / "rows"
    source.write_bytes(content)

    artifact = await mesh.put_artifact(source, media_type="text/csv")
    weighed = await mesh.call("worker.weigh", content=artifact)

    assert weighed == {"size": len(content), "digest": artifact.digest, "media_type": "text/csv"}
    assert artifact.digest == f"sha256:{hashlib.sha256(content).hexdigest()}"


async def test_an_artifact_is_saved_by_a_function_in_a_thread(mesh: Mesh, tmp_path: Path) -> None:
    artifact = await mesh.put_artifact(b"rows" * 100_000)

    saved = await mesh.call("worker.save", content=artifact, folder=str(tmp_path))

    assert Path(saved).read_bytes() == b"rows" * 100_000


async def test_an_artifact_is_made_by_an_agent(mesh: Mesh, tmp_path: Path) -> None:
    made = await mesh.artifact(await mesh.call("worker.make", size=2 * MIB + 1))

    await made.save(tmp_path / "made")

    assert (tmp_path / "made").read_bytes() == b"x" * (2 * MIB + 1)
    assert made.media_type == "text/plain"
    assert (await mesh.artifact(made.digest)).size == 2 * MIB + 1


async def test_what_is_no_artifact_is_refused_by_its_schema(mesh: Mesh) -> None:
    with pytest.raises(parade.ParadeError) as refused:
        await mesh.call("worker.weigh", content={"artifact": {"digest": "md5:0", "size": 1}})

    assert refused.value.reason is parade.Reason.INVALID_ARGUMENTS


async def test_large_arguments_of_a_call_that_was_started(mesh: Mesh) -> None:
    message = "x" * (2 * MIB)
    started = await mesh.start_call("worker.fail", message=message)

    with pytest.raises(parade.ParadeError) as failed:
        await started.result(timeout=PRESENT)

    assert failed.value.reason is parade.Reason.AGENT_ERROR


@pytest.mark.full
@pytest.mark.timeout(300)
async def test_a_large_artifact_never_lies_in_memory(mesh: Mesh) -> None:
    size = 512 * MIB

    async def pieces() -> AsyncIterator[bytes]:
        for number in range(512):
            yield number.to_bytes(4) * (MIB // 4)

    here = psutil.Process()
    before = here.memory_info().rss
    artifact = await mesh.put_artifact(pieces())
    grown = [here.memory_info().rss - before]
    count = 0
    async for piece in artifact.chunks():
        count += len(piece)
        if count % (64 * MIB) == 0:
            grown.append(here.memory_info().rss - before)

    assert count == size
    assert max(grown) < size / 3


# --------------------------------------------------------------------------------------------- without an event loop


def test_the_blocking_client_has_all_of_it(working_mesh: MeshFile, tmp_path: Path) -> None:
    with connect_blocking(working_mesh) as mesh:
        assert mesh.outcome("worker.nap", seconds=0).value == "slept"
        started = mesh.start_call("worker.numbers", to=3)
        assert list(mesh.started_call(started.id).items()) == [0, 1, 2]
        assert started.id in [call.id for call in mesh.calls(function="worker.numbers")]
        artifact = mesh.put_artifact(b"rows")
        assert mesh.call("worker.weigh", content=artifact)["size"] == 4
        assert mesh.artifact(artifact.to_json()).save(tmp_path / "rows").read_bytes() == b"rows"
        assert b"".join(artifact.chunks()) == artifact.read() == b"rows"
