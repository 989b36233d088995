"""A run is the fold of its entries."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parade_scheduler.document import Document
from parade_scheduler.model import EventType, Run, RunEvent, Step, StepState, Task, TaskState
from parade_scheduler.storage.entries import Change, Entry, Fold, entry_of, events_of
from tests.support.model_values import values

NOW = datetime(2026, 1, 1, tzinfo=UTC)
RUN = Run("run-1", "default", "flow", 1, Document(b"{}"), NOW)


def test_the_newest_form_of_each_row_counts_and_what_is_not_told_stays() -> None:
    first = Task("a", 0, TaskState.RUNNING, 1, NOW)
    other = Task("a", 1, TaskState.SUCCEEDED, 1, NOW, output=Document(b"7"))
    ended = Task("a", 0, TaskState.SUCCEEDED, 2, NOW, output=Document(b"8"))
    steps = [Step("b", 1, "x.b"), Step("a", 0, "x.a", StepState.RUNNING)]
    fold = Fold()

    fold.add(entry_of(Change(RUN, 1, steps={step.id: step for step in steps}, tasks={("a", 1): other, ("a", 0): first})))
    fold.add(entry_of(Change(RUN, 2, tasks={("a", 0): ended})))

    assert fold.number == 2
    assert fold.steps() == steps[::-1]
    assert fold.tasks() == [ended, other]


@given(data=st.data())
def test_the_fold_of_any_entries_is_what_was_told_last(data: st.DataObject) -> None:
    ids, fold = st.sampled_from("abc"), Fold()
    steps: dict[str, Step] = {}
    tasks: dict[tuple[str, int], Task] = {}
    for number in range(1, data.draw(st.integers(1, 5)) + 1):
        told = [data.draw(values(Step).map(lambda step: replace(step, id=data.draw(ids)))) for _ in range(data.draw(st.integers(0, 2)))]
        changed = {step.id: step for step in told}
        begun = {id for id in changed if data.draw(st.booleans())}
        did = [replace(data.draw(values(Task)), step=data.draw(ids), index=number % 2) for _ in range(data.draw(st.integers(0, 2)))]
        change = Change(RUN, number, steps=changed, tasks={(task.step, task.index): task for task in did}, begun=begun)
        for id, step in changed.items():
            before = steps[id].items if id in steps else None
            # What began without items has none to write, and keeps those that it had.
            steps[id] = replace(step, items=step.items if id in begun and step.items is not None else before)
        tasks |= change.tasks

        fold.add(entry_of(change))

    assert sorted(fold.steps(), key=lambda step: step.id) == [steps[id] for id in sorted(steps)]
    assert fold.tasks() == [tasks[key] for key in sorted(tasks)]


def test_a_change_of_nothing_is_an_entry_all_the_same() -> None:
    entry = entry_of(Change(RUN, 1))

    assert entry == Entry(1, 0, "{}", b"")


@pytest.mark.parametrize("number", [1, 3])
def test_a_log_with_a_gap_or_a_double_is_no_run(number: int) -> None:
    fold = Fold()
    fold.add(entry_of(Change(RUN, 1)))

    with pytest.raises(ValueError, match="entry 2 is missing"):
        fold.add(entry_of(Change(RUN, number)))


def test_the_outputs_of_the_run_are_not_kept_with_its_last_event() -> None:
    event = RunEvent(1, NOW, EventType.RUN_SUCCEEDED, output=Document(b"[1]"))

    entry = entry_of(Change(RUN, 1, events=[event]))

    assert entry.documents == b""
    assert events_of(entry.facts, entry.documents) == [RunEvent(1, NOW, EventType.RUN_SUCCEEDED)]
