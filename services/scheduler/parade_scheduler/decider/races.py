"""Races: the first of some steps that succeeds wins, and what only the others would have been for ends."""

import orjson

from parade.wire.errors import ParadeError, Reason
from parade_scheduler.decider import ends
from parade_scheduler.decider.execution import Execution
from parade_scheduler.decider.losers import losers
from parade_scheduler.decider.transition import Transition
from parade_scheduler.document import Document
from parade_scheduler.model import STEP_ENDED, EventType, Failure, Step, StepState


def is_decided(execution: Execution, race: str) -> bool:
    """Tells whether a racer has won, or none can win any more."""
    racers = _racers(execution, race)
    return any(row.state is StepState.SUCCEEDED for row in racers) or all(row.state in STEP_ENDED for row in racers)


def decide(transition: Transition, race: str) -> None:
    """Ends a race that is decided, and everything that it makes useless."""
    execution = transition.execution
    racers = _racers(execution, race)
    won = [row for row in racers if row.state is StepState.SUCCEEDED]
    if not won:
        ends.fail(transition, race, _failure(racers))
        return
    try:
        output = _output(min(won, key=_place))
    except ParadeError as error:
        ends.fail(transition, race, Failure.of(error))
        return
    transition.step(race, state=StepState.RUNNING, start_time=transition.now)
    transition.event(EventType.STEP_STARTED, step=race)
    ends.end(transition, race, StepState.SUCCEEDED, EventType.STEP_SUCCEEDED, {"output": output}, output=output)
    _end_losers(transition)


def _end_losers(transition: Transition) -> None:
    execution = transition.execution
    for step in sorted(losers(execution.definition, execution.steps), key=lambda step: execution.steps[step].position):
        if execution.steps[step].state is StepState.RUNNING:
            execution.lost.add(step)
            transition.unsettled.append(step)
        elif step in execution.definition.raced_by:
            ends.cancel(transition, step)
        else:
            ends.end(transition, step, StepState.SKIPPED, EventType.STEP_SKIPPED, message="what needs it has lost a race")


def _racers(execution: Execution, race: str) -> list[Step]:
    return [execution.steps[racer] for racer in execution.definition.steps[race].race]


def _place(row: Step) -> tuple[float, int]:
    return (row.end_time.timestamp() if row.end_time is not None else 0.0, row.position)


def _output(winner: Step) -> Document:
    output = b"null" if winner.output is None else winner.output.data
    document = Document(b'{"step":' + orjson.dumps(winner.id) + b',"output":' + output + b"}")
    document.check_size()
    return document


def _failure(racers: list[Step]) -> Failure:
    """Returns why a race that nobody won failed: the failure that came first, where there is one."""
    message = "none of the steps that raced succeeded"
    failed = [row for row in racers if row.failure is not None]
    if not failed:
        return Failure(Reason.FAILED_PRECONDITION, message)
    first = min(failed, key=_place)
    failure = first.failure
    assert failure is not None  # noqa: S101 - only such rows are looked at
    text = f"{message}; `{first.id}` failed first: {failure.message}"
    return Failure(failure.reason, text, failure.violations, failure.metadata, failure.retryable)
