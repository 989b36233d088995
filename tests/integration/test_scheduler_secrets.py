"""Functions are handed the secrets of the run's namespace, as they are now; no value of them is stored, answered or logged."""

from pathlib import Path
from typing import Any

import pytest

from parade.v1 import error_pb2
from parade.v1 import scheduler_pb2 as pb
from parade.wire.errors import ParadeError, Reason, Violation
from parade.wire.identity import Identity
from parade_chassis.clock import SystemClock
from parade_scheduler.definitions.secrets import FRESH
from tests.integration.scheduler_harness import begin, ended, history, put, running_world

FIRST, SECOND = "k3y-of-the-bank", "an0ther-k3y-of-the-bank"
ENV = {"TOKEN": "Bearer ${{ secrets.bank_key }}"}
GIVEN = {"key": "${{ secrets.bank_key }}", "header": "${{ env.TOKEN }}"}


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    folder = tmp_path / "secrets" / "default"
    folder.mkdir(parents=True)
    (folder / "bank_key").write_text(f"{FIRST}\n")
    return folder.parent


class Shifted(SystemClock):
    """The time, moved on by a test."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead


def given(key: str) -> dict[str, str]:
    return {"key": key, "header": f"Bearer {key}"}


def assert_nowhere(folder: Path, *values: str, answers: str) -> None:
    """Looks for secrets in what was answered, and in every file outside the secrets' own folder."""
    files = [path for path in folder.rglob("*") if path.is_file() and "secrets" not in path.relative_to(folder).parts]
    assert any(path.name.startswith("scheduler.db") for path in files)
    for value in values:
        assert value not in answers
        assert [path for path in files if value.encode() in path.read_bytes()] == []


async def told(stub: Any, run: pb.Run) -> str:
    """Returns everything that the scheduler tells of a run."""
    listed = await stub.ListRuns(pb.ListRunsRequest())
    return f"{await stub.GetRun(pb.GetRunRequest(run_id=run.id))} {listed} {await history(stub, run.id)}"


async def test_a_step_is_handed_a_secret_and_the_next_one_its_new_value(tmp_path: Path, secrets: Path) -> None:
    clock = Shifted()
    async with running_world(tmp_path, secrets=secrets) as world:
        await world.stop()
        await world.start(clock)
        stub = world.stub()
        await put(stub, {"a": {"call": "x.a", "with": GIVEN}, "b": {"call": "x.b", "needs": "a", "with": GIVEN}}, env=ENV)
        run = await begin(stub)
        first = await world.dispatcher.call("a")

        (secrets / "default" / "bank_key").write_text(SECOND)
        clock.ahead += FRESH
        first.succeed("paid")
        second = await world.dispatcher.call("b")
        second.succeed("paid")
        done = await ended(stub, run.id)
        answers = await told(stub, run)
        await world.stop()

    assert done.state == pb.RUN_STATE_SUCCEEDED
    assert (first.arguments, second.arguments) == (given(FIRST), given(SECOND))
    assert_nowhere(tmp_path, FIRST, SECOND, answers=answers)


async def test_a_step_that_is_taken_up_again_is_handed_its_secret_again(tmp_path: Path, secrets: Path) -> None:
    async with running_world(tmp_path, secrets=secrets) as world:
        await world.stop()
        await world.start_process(PARADE_SCHEDULER_LOG_LEVEL="debug")
        stub = world.stub()
        await put(stub, {"a": {"call": "x.a", "with": GIVEN}}, env=ENV)
        run = await begin(stub)
        call = await world.dispatcher.call("a")
        await world.kill()
        await world.start_process(PARADE_SCHEDULER_LOG_LEVEL="debug")

        again = await world.dispatcher.call("a", 1)
        refuse(again)
        done = await ended(stub, run.id)
        answers = await told(stub, run) + world.words()

    assert call.arguments == again.arguments == given(FIRST)
    assert done.state == pb.RUN_STATE_FAILED
    assert done.error.message.endswith("*** does not fit")
    assert_nowhere(tmp_path, FIRST, answers=answers)


def refuse(call: Any) -> None:
    """Fails a call as a dispatcher does whose schema does not allow what it was given, which it quotes."""
    quoted = Violation("arguments.header", f'"Bearer {FIRST}" does not match "^Basic"')
    call.fail(ParadeError(Reason.INVALID_ARGUMENTS, f"{FIRST} does not fit", violations=(quoted,), metadata={"given": FIRST}))


@pytest.mark.usefixtures("secrets")
@pytest.mark.parametrize(
    ("folder", "caller", "why"),
    [
        ("secrets", Identity.client("ada", namespace="other"), "PARADE_SCHEDULER_SECRETS names has no file `other/bank_key`"),
        (None, Identity.client("ada"), "PARADE_SCHEDULER_SECRETS is not set"),
    ],
)
async def test_where_there_is_no_such_secret_the_step_fails(tmp_path: Path, folder: str | None, caller: Identity, why: str) -> None:
    async with running_world(tmp_path, secrets=folder and tmp_path / folder) as world:
        stub = world.stub(caller)
        await put(stub, {"a": {"call": "x.a", "with": GIVEN}}, env=ENV)

        run = await ended(stub, (await begin(stub)).id)

    assert run.state == pb.RUN_STATE_FAILED
    assert run.error.reason == error_pb2.ERROR_REASON_INVALID_ARGUMENTS
    assert "has no secret `bank_key`" in run.error.message
    assert why in run.error.message
    assert str(tmp_path) not in run.error.message
    assert world.dispatcher.calls == []
