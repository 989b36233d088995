"""What must hold at the end of every schedule, found out by reading again all that there is."""

from collections import Counter, defaultdict
from collections.abc import Iterator

from parade.wire.errors import ParadeError, Reason
from parade_scheduler.decider.asks import Entries, envelope_of
from parade_scheduler.language import Definition
from parade_scheduler.model import RUN_ENDED, STEP_ENDED, TASK_ENDED, EventType, Kind, Run, RunEvent, RunState, StepState
from parade_scheduler.storage.store import Store, Stored
from tests.simulation import durables
from tests.simulation.clients import Promises
from tests.simulation.mesh import Mesh

_STEP_ENDS = frozenset({EventType.STEP_SUCCEEDED, EventType.STEP_FAILED, EventType.STEP_SKIPPED, EventType.STEP_CANCELLED})
_TASK_ENDS = frozenset({EventType.TASK_SUCCEEDED, EventType.TASK_FAILED, EventType.TASK_CANCELLED})
_BEGINS = frozenset({EventType.STEP_STARTED, EventType.TASK_STARTED, EventType.TASK_WAITING})


async def faults_of(store: Store, runs: list[str], definitions: dict[str, Definition], mesh: Mesh, promises: Promises) -> list[str]:
    """Returns all that does not hold.

    Args:
        store: Where everything is read again.
        runs: The ids of all runs.
        definitions: The workflows by name.
        mesh: What was done by whom.
        promises: What was acknowledged.
    """
    faults = list(promises.faults)
    found = {stored.run.id: stored for stored in await store.load(runs)}
    histories = {run: await store.events(run, 0, 100_000) for run in runs}
    for id, stored in found.items():
        history, definition = histories[id], definitions[stored.run.workflow]
        of_run = (
            *_history(stored.run, history, definition),
            *_states(stored),
            *_order(history, definition),
            *_compensation(stored.run, history, definition),
            *_effects(stored, history, mesh, definition),
            *(_durable(stored) if definition.durable else ()),
        )
        faults += [f"{id} ({stored.run.workflow}): {fault}" for fault in of_run]
    faults += _promises(found, histories, promises)
    return faults


def _history(run: Run, events: list[RunEvent], definition: Definition) -> Iterator[str]:
    """Everything happened in one order, ended once, and began at no time at which nothing may.

    A durable function whose turn ends in a pause waits for what it has asked for, which is no call.
    """
    if [event.sequence for event in events] != list(range(1, len(events) + 1)):
        yield f"the history has gaps: {[event.sequence for event in events]}"
    if run.last_sequence != len(events):
        yield f"it has {len(events)} events and says {run.last_sequence}"
    times = [event.time for event in events]
    if times != sorted(times):
        yield "its time runs backwards"
    if not events or events[-1].type != f"RUN_{run.state}":
        yield f"it is {run.state} and its history does not end so"
    ends = Counter(event.step for event in events if event.type in _STEP_ENDS)
    yield from (f"the step {step} ended {count} times" for step, count in ends.items() if count > 1)
    accepted = Counter((event.step, event.task) for event in events if event.type in _TASK_ENDS)
    yield from (f"the task {task} ended {count} times" for task, count in accepted.items() if count > 1)
    begun = Counter((event.step, event.task, event.attempt) for event in events if event.type is EventType.TASK_STARTED)
    yield from (f"the attempt {attempt} began {count} times" for attempt, count in begun.items() if count > 1)
    begins = _BEGINS - {EventType.TASK_WAITING} if definition.durable else _BEGINS
    paused = False
    for event in events:
        if paused and event.type in begins:
            yield f"{event.type} of {event.step} in a pause"
        if event.type in (EventType.RUN_PAUSED, EventType.RUN_RESUMED, EventType.RUN_CANCELLING):
            paused = event.type is EventType.RUN_PAUSED


def _states(stored: Stored) -> Iterator[str]:
    run = stored.run
    if run.state not in RUN_ENDED:
        yield f"it is {run.state}"
    if run.ended and stored.parked:
        yield "it has ended and is parked"
    yield from (f"the step {step.id} is {step.state}" for step in stored.steps if step.state not in STEP_ENDED)
    yield from (f"the task {task.step}/{task.index} is {task.state}" for task in stored.tasks if task.step and task.state not in TASK_ENDED)
    if run.state is RunState.FAILED and run.failure is None:
        yield "it failed without a reason"


def _order(events: list[RunEvent], definition: Definition) -> Iterator[str]:
    ended = {event.step: event.sequence for event in events if event.type in _STEP_ENDS}
    for event in events:
        step = definition.steps.get(event.step)
        if event.type is not EventType.STEP_STARTED or step is None:
            continue
        late = [needed for needed in step.needs if needed not in step.race and ended.get(needed, event.sequence) >= event.sequence]
        if late:
            yield f"{event.step} started before the ends of {late}"


def _compensation(run: Run, events: list[RunEvent], definition: Definition) -> Iterator[str]:
    succeeded = [event.step for event in events if event.type is EventType.STEP_SUCCEEDED]
    undoable = [step for step in succeeded if step in definition.steps and definition.steps[step].compensation]
    undone = [event.step for event in events if event.type is EventType.STEP_STARTED and event.step in definition.compensations]
    wanted = [] if run.state is RunState.SUCCEEDED else [f"{step}.compensate" for step in reversed(undoable)]
    if undone != wanted:
        yield f"it undid {undone} instead of {wanted}"
    course = [event.step for event in events if event.step in definition.compensations and event.type in _STEP_ENDS]
    if course != undone:
        yield f"it undid {undone}, and that ended as {course}"


def _effects(stored: Stored, events: list[RunEvent], mesh: Mesh, definition: Definition) -> Iterator[str]:
    """Whatever has effects was done once at most, and what is recorded as done was. A durable function's own task is none of it."""
    run = stored.run.id
    begun = {(event.step, event.task, event.attempt) for event in events if event.type is EventType.TASK_STARTED}
    calls = {(task.step, task.index) for task in stored.tasks if task.kind is Kind.CALL and (task.index > 0 or not definition.durable)}
    accepted = [event for event in events if event.type is EventType.TASK_SUCCEEDED and (event.step, event.task) in calls]
    executions = defaultdict(list)
    for execution in mesh.executions:
        if execution.key[0] == run:
            executions[execution.key[1:]].append(execution)
    for (step, task), found in executions.items():
        done = [execution.number for execution in found if execution.done and not execution.function.endswith(".pure")]
        if len(done) > 1:
            yield f"the effect of {step}/{task} happened {len(done)} times"
        unknown = [execution.attempt for execution in found if (step, task, execution.attempt) not in begun]
        if unknown:
            yield f"attempts {unknown} of {step}/{task} ran and are not in the history"
    for event in accepted:
        value = None if event.output is None else event.output.value
        given = [{"execution": one.number} for one in executions[event.step, event.task] if one.done and one.attempt == event.attempt]
        if value not in given:
            yield f"{event.step}/{event.task} is recorded with {value} of attempt {event.attempt}, which gave {given}"
    for row in () if definition.durable else stored.steps:
        if row.state is StepState.SUCCEEDED and row.kind is Kind.CALL and row.tasks_succeeded != row.tasks and row.id in definition.steps:
            yield f"the step {row.id} succeeded with {row.tasks_succeeded} of {row.tasks} tasks"


def _durable(stored: Stored) -> Iterator[str]:
    """A durable function ended as its code ends with what is on record, or for want of an instance."""
    run, failure = stored.run, stored.run.failure
    journal = envelope_of(run, {task.index: task for task in stored.tasks if task.step}, Entries()).data
    end = durables.played(run.id, journal)
    if run.state is RunState.SUCCEEDED:
        if isinstance(end, ParadeError) or run.outputs is None or end.value != {"result": run.outputs.value}:
            yield f"its code gave {run.outputs}, and with what is on record gives {end}"
    elif failure is not None and failure.reason is Reason.AGENT_ERROR:
        if not isinstance(end, ParadeError) or failure.message != end.message or end.metadata.get("exception_type") != "ParadeError":
            yield f"its code failed with {failure}, and with what is on record gives {end}"
    elif failure is not None and failure.reason is not Reason.AGENT_LOST:
        yield f"it failed with {failure}"


def _promises(found: dict[str, Stored], histories: dict[str, list[RunEvent]], promises: Promises) -> Iterator[str]:
    requests = Counter(stored.run.request_id for stored in found.values() if stored.run.request_id)
    yield from (f"the request {request} has {count} runs" for request, count in requests.items() if count > 1)
    for request, run in promises.starts.items():
        if run not in found:
            yield f"{run} was acknowledged to {request} and is gone"
    for run, name, value in promises.signals:
        received = [event for event in histories.get(run, ()) if event.type is EventType.SIGNAL_RECEIVED and event.message == name]
        if sum(event.output is not None and event.output.value == value for event in received) != 1:
            yield f"the signal {name}={value} was acknowledged, and {run} has it {len(received)} times"
    for run in promises.cancels:
        # One that was undoing already goes on with that.
        if run in found and not any(event.type in (EventType.RUN_CANCELLING, EventType.RUN_COMPENSATING) for event in histories[run]):
            yield f"{run} was acknowledged to be cancelled, and is {found[run].run.state}"
    for (run, step, task), approved in promises.resolutions.items():
        wanted = EventType.TASK_SUCCEEDED if approved else EventType.TASK_FAILED
        if not any(event.type is wanted and (event.step, event.task) == (step, task) for event in histories[run]):
            yield f"{run} was acknowledged that {step}/{task} was resolved"
    for run, state in promises.ends.items():
        if found[run].run.state is not state:
            yield f"{run} was said to have ended {state}, and is {found[run].run.state}"
