"""What leaves the process after a commit: a fault in one run's effect ends neither the process nor the wait of the task that wants it."""

from pathlib import Path

import pytest

from parade.wire.errors import Reason
from parade_scheduler.decider import (
    CancelChild,
    CancelTask,
    Dispatch,
    Effect,
    Occurrence,
    RunEnded,
    StartChild,
    TaskCancelled,
    TaskFailed,
    TaskSucceeded,
)
from parade_scheduler.document import Document
from parade_scheduler.effects import Effects
from parade_scheduler.model import Parent, Run, RunState
from parade_scheduler.ports import Listener
from parade_scheduler.starts.children import Children
from tests.unit.scheduler.leading import Led, leading
from tests.unit.scheduler.rights import Surrounding, every_right
from tests.unit.scheduler.simulation import START

FLOW = Run("run-1", "default", "flow", 1, Document(b"{}"), START)
CHILD = Run("run-2", "default", "flow", 1, Document(b"{}"), START, RunState.FAILED, parent=Parent("run-1", "a", 0, 1))
CALL = Dispatch("a", 0, 1, "x.a", Document(b"{}"), None, redelivered=False)


class Broken(Children):
    """Children of a scheduler that has a fault."""

    def start(self, parent: Run, effect: StartChild) -> None:
        raise KeyError(effect.run)

    def cancel(self, parent: Run, effect: CancelChild) -> None:
        raise KeyError(effect.run)

    def ended(self, child: Run) -> None:
        raise KeyError(child.id)


class Mesh:
    """Takes calls, and cannot cancel them."""

    def __init__(self) -> None:
        self.listeners: list[Listener] = []

    def call(self, run: Run, dispatch: Dispatch, listener: Listener) -> "Mesh":
        self.listeners.append(listener)
        return self

    def cancel(self) -> None:
        raise KeyError("call")

    async def leave(self) -> None:
        return


def effects_of(led: Led, reported: list[tuple[str, Occurrence]]) -> tuple[Effects, Mesh]:
    mesh = Mesh()
    children = Broken(led.journal, None, led.store, led.clock, led.log)  # type: ignore[arg-type]  # it starts none
    return Effects(Surrounding(), mesh, children, lambda run, occurrence: reported.append((run, occurrence)), every_right()), mesh


@pytest.mark.parametrize(
    ("run", "effect", "told"),
    [
        (FLOW, StartChild("a", 0, 1, "run-2", "sub", Document(b"{}")), TaskFailed),
        (FLOW, CancelChild("run-2", "enough", "a", 0, 1), TaskCancelled),
        (CHILD, RunEnded(), TaskFailed),
    ],
)
async def test_a_fault_in_an_effect_ends_the_task_that_waits_for_it_and_no_other(
    tmp_path: Path, run: Run, effect: Effect, told: type[TaskFailed] | type[TaskCancelled]
) -> None:
    reported: list[tuple[str, Occurrence]] = []
    async with leading(tmp_path) as led:
        effects, mesh = effects_of(led, reported)

        effects.release(run, effect)
        effects.release(FLOW, CALL)
        mesh.listeners[0].succeeded(Document(b"7"))

    (parent, outcome), (_, other) = reported
    assert (parent, type(outcome)) == ("run-1", told)
    assert isinstance(outcome, TaskFailed | TaskCancelled)
    assert (outcome.step, outcome.task, outcome.attempt) == ("a", 0, 1)
    assert not isinstance(outcome, TaskFailed) or outcome.failure.reason is Reason.INTERNAL
    assert isinstance(other, TaskSucceeded)


async def test_a_fault_in_a_cancellation_ends_its_task(tmp_path: Path) -> None:
    reported: list[tuple[str, Occurrence]] = []
    async with leading(tmp_path) as led:
        effects, _ = effects_of(led, reported)
        effects.release(FLOW, CALL)

        effects.release(FLOW, CancelTask("a", 0, 1))

    assert reported == [("run-1", TaskCancelled("a", 0, 1))]
