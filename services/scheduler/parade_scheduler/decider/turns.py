"""Durable functions: the code is the first task of the step `main`, and takes a turn whenever something ends that it has asked for.

A turn is an attempt of that task, so there is one at a time and its outcome counts once. Between turns the task waits. What the function
asks for are the other tasks; they are handed out, tried again and cancelled like any, but their failure is the function's affair.
"""

from dataclasses import replace
from typing import Final

from parade.wire.errors import ParadeError, Reason
from parade_scheduler.decider import asks, ends, outcomes, tasks
from parade_scheduler.decider.asks import Ask
from parade_scheduler.decider.children import child_id
from parade_scheduler.decider.decisions import SetTimer
from parade_scheduler.decider.execution import Execution
from parade_scheduler.decider.occurrences import TaskSucceeded, WaitDue
from parade_scheduler.decider.transition import Transition
from parade_scheduler.model import TASK_ENDED, EventType, Failure, Kind, Step, StepState, Task, TaskState

MAIN: Final = "main"
"""The one step of a durable function."""
CODE: Final = 0
"""The index of the task that is the code."""

MAX_TOLD: Final = 5
"""How often in a row a turn may ask to be told everything."""

_WAITS: Final = frozenset({Kind.APPROVAL, Kind.SIGNAL, Kind.TIMER})


def succeeded(transition: Transition, occurrence: TaskSucceeded) -> None:
    """Accepts what an attempt gave: a result, or where it was a turn what the function asks for next."""
    execution = transition.execution
    if not execution.definition.durable or occurrence.task != CODE:
        tasks.succeeded(transition, occurrence)
        return
    task = execution.running_task(occurrence.step, CODE, occurrence.attempt)
    if task is None:
        return
    try:
        turn = asks.read_turn(occurrence.output, len(execution.tasks[MAIN]) - 1)
    except ParadeError as error:
        outcomes.fail(transition, task, Failure.of(error), instance_id=occurrence.instance_id)
        return
    if turn.again and not execution.is_stopping(MAIN):
        _tell_all(transition, task, occurrence.instance_id)
    elif turn.result is not None:
        outcomes.succeed(transition, task, turn.result, instance_id=occurrence.instance_id)
        _give_up(transition, range(1, len(execution.tasks[MAIN])))
    elif execution.is_stopping(MAIN):
        outcomes.cancel(transition, task, instance_id=occurrence.instance_id)
    else:
        _take(transition, task, turn, occurrence.instance_id)


def go_on(transition: Transition) -> None:
    """Begins the function, or lets it take another turn where something has ended that it has not heard of."""
    execution = transition.execution
    task = execution.tasks[MAIN].get(CODE)
    if task is None:
        tasks.start(transition, MAIN, CODE)
    elif task.state is TaskState.WAITING and execution.news:
        task = transition.task(task, state=TaskState.RUNNING, attempt=task.attempt + 1, started=transition.now)
        try:
            given = asks.news_of(execution.run, execution.tasks[MAIN], execution.news, execution.entries)
        except ParadeError as error:
            outcomes.fail(transition, task, Failure.of(error))
            return
        tasks.hand_out(transition, task, given, announce=False)


def recover(transition: Transition) -> None:
    """Cancels the runs again that the function waits for no more: the process that was to cancel them is gone."""
    for task in transition.execution.tasks[MAIN].values():
        if task.state is TaskState.CANCELLED and task.child:
            tasks.stop_child(transition, task)


def is_over(execution: Execution) -> bool:
    """Tells whether the function has returned."""
    task = execution.tasks[MAIN].get(CODE)
    return task is not None and task.state is TaskState.SUCCEEDED


def conclude(transition: Transition, row: Step) -> None:
    """Ends the step, none of whose tasks is under way."""
    task = transition.execution.tasks[MAIN].get(CODE)
    if task is not None and task.state is TaskState.SUCCEEDED:
        ends.end(transition, MAIN, StepState.SUCCEEDED, EventType.STEP_SUCCEEDED, {"output": task.output}, output=task.output)
    elif row.failure is not None:
        ends.fail(transition, MAIN, row.failure)
    else:
        ends.cancel(transition, MAIN)


def _tell_all(transition: Transition, task: Task, instance_id: str) -> None:
    """Hands the turn out once more with the whole journal: who has it does not keep the function, or not as the last turn has left it."""
    failures = task.failures + 1
    if failures > MAX_TOLD:
        failure = Failure(Reason.INTERNAL, f"the agent has asked {MAX_TOLD} times in a row to be told everything, and was")
        outcomes.fail(transition, task, failure, instance_id=instance_id)
        return
    task = transition.task(task, attempt=task.attempt + 1, started=transition.now, failures=failures, instance_id=instance_id)
    tasks.hand_out_again(transition, task, announce=False)


def _take(transition: Transition, task: Task, turn: asks.Turn, instance_id: str) -> None:
    """Lets the function wait, and begins what it asks for."""
    execution = transition.execution
    known = len(execution.tasks[MAIN])
    if known > 1 and (turn.seen is None or (task.ended is not None and turn.seen <= task.ended)):
        failure = Failure(Reason.INTERNAL, "the agent has not heard of what ended; its version and that of the scheduler may not fit")
        outcomes.fail(transition, task, failure, instance_id=instance_id)
        return
    heard = None if turn.seen is None or execution.newest_end is None else min(turn.seen, execution.newest_end)
    task = transition.task(
        task,
        state=TaskState.WAITING,
        ended=heard,
        failures=0,
        outages=0,
        outage_started=None,
        uncertain=False,
        instance_id=instance_id,
        failure=None,
    )
    execution.note_heard(MAIN, heard)
    execution.size += len(turn.asks)
    transition.step(MAIN, tasks=known + len(turn.asks))
    for index, ask in enumerate(turn.asks, known):
        _begin(transition, index, ask, given_up=index in turn.given_up)
    _give_up(transition, sorted(turn.given_up))
    if execution.active[MAIN] == 1 and not execution.news:
        outcomes.fail(transition, task, Failure(Reason.INTERNAL, "the function waits, and nothing can come of it"), instance_id=instance_id)
    transition.unsettled.append(MAIN)


def _begin(transition: Transition, index: int, ask: Ask, *, given_up: bool) -> None:
    """Begins what the function asks for."""
    now, kind = transition.now, ask.kind
    task = Task(MAIN, index, TaskState.RUNNING, 1, now, kind=kind, name=ask.name, arguments=ask.words)
    if given_up:
        transition.new_task(replace(task, state=TaskState.CANCELLED, attempt=0))
    elif kind in _WAITS:
        _wait(transition, replace(task, state=TaskState.WAITING, due=asks.due_of(kind, ask.words, now)))
    elif not transition.goes_on:
        transition.new_task(replace(task, state=TaskState.RETRYING, attempt=0, retry_time=now))  # until the run goes on
    else:
        if kind is Kind.RUN:
            child = child_id(transition.execution.run.id, MAIN, index, 1)
            task = replace(task, child=child, due=asks.due_of(kind, ask.words, now))
        tasks.hand_out(transition, transition.new_task(task), asks.arguments_of(task))


def _wait(transition: Transition, task: Task) -> None:
    """Begins a wait; what is there already is taken at once."""
    task, due = transition.new_task(task), task.due
    note = asks.message_of(task) if task.kind is Kind.APPROVAL else task.name
    transition.event(EventType.TASK_WAITING, step=MAIN, task=task.index, attempt=1, retry_time=due, message=note)
    kept = transition.take_signal(task.name) if task.kind is Kind.SIGNAL else None
    if kept is not None and kept.output is not None:
        outcomes.succeed(transition, task, kept.output, by=kept.by)
    elif due is not None:
        transition.effect(SetTimer(due, WaitDue(MAIN, task.index, due)))


def _give_up(transition: Transition, indexes: range | list[int]) -> None:
    """Ends what the function waits for no more. What was handed out is cancelled, and its outcome no longer counts."""
    execution = transition.execution
    for index in indexes:
        task = execution.tasks[MAIN].get(index)
        if task is None or index == CODE or task.state in TASK_ENDED:
            continue
        was_running = task.state is TaskState.RUNNING
        tasks.stop(transition, task)
        if was_running:
            outcomes.cancel(transition, task, uncertain=task.kind is Kind.CALL)
