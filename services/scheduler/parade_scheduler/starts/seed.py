"""What a new run takes over from an earlier one that it repeats or branches off from. Pure.

A step that is kept comes with its row as it ended: its output, and how long it took. Its tasks and their history stay with the earlier run.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from parade.wire.errors import ParadeError, Reason
from parade_scheduler.document import Document
from parade_scheduler.language import Definition
from parade_scheduler.model import Failure, Run, Step, StepState

_KEPT: Final = frozenset({StepState.SUCCEEDED, StepState.SKIPPED})
"""What is a result by itself. A failure is one only where a step that is kept, or to be repeated, went on from it."""
_COMPENSATION: Final = ".compensate"
"""What the id of a step's compensation ends with."""


@dataclass(frozen=True, slots=True)
class Seed:
    """What a new run takes over."""

    origin: str
    """The earlier run."""
    steps: tuple[Step, ...] = ()
    """The steps that are kept, as they ended."""
    failure: Failure | None = None
    """Why the new run fails whatever else happens, where a step is kept that failed."""


def repeated(definition: Definition, earlier: Run, rows: Iterable[Step], first: str) -> Seed:
    """Keeps what a repetition from a step on does not run again.

    That step runs again, with all that need it. What it needs, directly or through others, is kept as it ended, failures too. Of the other
    steps those are kept that succeeded or were skipped; one that failed or was cancelled gave no result, and runs again with what needs it.

    Args:
        definition: The workflow of the new run.
        earlier: The run that is repeated; it has ended.
        rows: Its steps.
        first: The first step that runs again; empty for all of them.

    Raises:
        ParadeError: NOT_FOUND, where the workflow has no such step; FAILED_PRECONDITION, where what it needs left nothing to keep.
    """
    if not first:
        return Seed(earlier.id)
    if first not in definition.steps:
        raise ParadeError(Reason.NOT_FOUND, f"the workflow `{definition.name}` has no step `{first}` in the version that is to run")
    known = _Earlier(definition, rows)
    needed = known.needed_by(first)
    for step in definition.steps:
        if step in needed and step not in known.results:
            message = f"`{step}`, which `{first}` needs, {known.lack(step)}; repeat the run from there"
            raise ParadeError(Reason.FAILED_PRECONDITION, message, metadata={"step": step})
    again = known.with_those_that_need({first}, needed)
    lacking = {step for step in definition.steps if step not in needed and step not in known.good}
    again = known.with_those_that_need(again | lacking, needed)
    return known.seed(earlier, definition.steps.keys() - again)


def branched(definition: Definition, earlier: Run, rows: Iterable[Step], ended: Collection[str]) -> Seed:
    """Keeps what had ended when a run branches off.

    Args:
        definition: The workflow of both.
        earlier: The run that it branches off from.
        rows: Its steps, as they are now.
        ended: The steps that had ended by then. Those cancelled or undone by then run anew, except what a race that is kept has cancelled.
    """
    known = _Earlier(definition, [row for row in rows if row.id in ended])
    kept: set[str] = set()
    for step in definition.in_order:
        needs = definition.steps[step].needs
        racers = definition.steps[step].race
        if step in known.results and all(one in kept for one in needs if one not in racers):
            kept.add(step)
    return known.seed(earlier, kept)


def inputs_of(definition: Definition, earlier: Run, given: Mapping[str, Any]) -> Document:
    """Returns what a new run is given: an earlier one's inputs, as far as the workflow still has them, with some in their place."""
    if definition.durable:
        return Document.of({**earlier.inputs.value, **given})  # its code alone knows which arguments it has
    known = {one.name: one for one in definition.inputs.inputs}
    before = {
        name: value
        for name, value in earlier.inputs.value.items()
        # An optional input without a default was left out if it is null, and its schema may not allow null.
        if name in known and not (value is None and not known[name].required and known[name].default is None)
    }
    return Document.of({**before, **given})


class _Earlier:
    """The steps of an earlier run, as a definition sees them.

    Attributes:
        results: The steps of which what became can be kept, whatever it is.
        good: Those among them that did not fail by themselves.
    """

    def __init__(self, definition: Definition, rows: Iterable[Step]) -> None:
        self._definition = definition
        self._rows = {row.id: row for row in rows}
        self._undone = {id.removesuffix(_COMPENSATION) for id in self._rows if id.endswith(_COMPENSATION)}
        self.results: set[str] = set()
        self.good: set[str] = set()
        # Whether a racer that was cancelled may stay so depends on its race, which needs it and so comes after it.
        for step in reversed(definition.in_order):
            row = self._rows.get(step)
            if row is None or step in self._undone or row.kind is not definition.steps[step].kind:
                continue
            if row.state in _KEPT or self._is_settled_by_a_race(row):
                self.good.add(step)
                self.results.add(step)
            elif row.state is StepState.FAILED:
                self.results.add(step)

    def lack(self, step: str) -> str:
        """Says why what became of a step cannot be kept."""
        row = self._rows.get(step)
        if row is None:
            return "is not among the steps of that run"
        if step in self._undone:
            return "was undone"
        if row.kind is not self._definition.steps[step].kind:
            return "did something else in that run"
        return f"did not end: it is {row.state}"

    def needed_by(self, step: str) -> set[str]:
        """Returns the steps that one needs, directly or through others."""
        found: set[str] = set()
        open_steps = [step]
        while open_steps:
            for needed in self._definition.steps[open_steps.pop()].needs:
                if needed not in found:
                    found.add(needed)
                    open_steps.append(needed)
        return found

    def with_those_that_need(self, steps: Iterable[str], kept: Collection[str]) -> set[str]:
        """Returns steps with all that need them, and with the rivals of those that race: a race that is run again is run by all."""
        found = set(steps)
        open_steps = list(found)
        while open_steps:
            step = open_steps.pop()
            rivals = {rival for race in self._definition.raced_by.get(step, ()) for rival in self._definition.steps[race].race}
            for other in (*self._definition.needed_by[step], *rivals):
                if other not in found and other not in kept:
                    found.add(other)
                    open_steps.append(other)
        return found

    def seed(self, earlier: Run, kept: Collection[str]) -> Seed:
        """Returns what is taken over where some steps are kept."""
        rows = [
            # Items are needed only to hand out tasks; which function is called, the definition says.
            replace(self._rows[step.id], position=position, call=step.call, items=None, end_sequence=0)
            for position, step in enumerate(self._definition.steps.values())
            if step.id in kept
        ]
        failed = [
            row for row in rows if row.state is StepState.FAILED and row.failure is not None and row.id not in self._definition.raced_by
        ]
        failed.sort(key=lambda row: (row.end_time is None, row.end_time, row.position))
        return Seed(earlier.id, tuple(rows), _failure_of(failed[0]) if failed else None)

    def _is_settled_by_a_race(self, row: Step) -> bool:
        """Tells whether a step ended as it did because a race, whose end can be kept, wanted no more of it."""
        races = self._definition.raced_by.get(row.id, ())
        if races:
            return row.state in (StepState.FAILED, StepState.CANCELLED) and any(race in self.good for race in races)
        followers = self._definition.needed_by[row.id]
        return (
            row.state is StepState.CANCELLED
            and bool(followers)
            and all(one in self.good and self._rows[one].state is not StepState.SUCCEEDED for one in followers)
        )


def _failure_of(step: Step) -> Failure:
    """Returns why a run fails in which a step has failed, in the decider's words."""
    failure = step.failure
    assert failure is not None  # noqa: S101  # its caller has looked
    message = f"the step `{step.id}` failed: {failure.message}"
    return replace(failure, message=message, metadata={**failure.metadata, "step": step.id})
