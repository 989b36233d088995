"""What follows from an attempt that failed: whether there is another one, and when."""

from datetime import timedelta
from typing import Final

from parade.wire.errors import Reason
from parade_scheduler.backoff import LONG_OUTAGE, OUTAGE
from parade_scheduler.decider import outcomes
from parade_scheduler.decider.decisions import SetTimer
from parade_scheduler.decider.occurrences import NOT_SENT, RetryDue
from parade_scheduler.decider.transition import Transition
from parade_scheduler.language import Retry
from parade_scheduler.model import EventType, Failure, Kind, Task, TaskState

OUTAGES: Final = frozenset({Reason.NO_CAPACITY, Reason.UNAVAILABLE, Reason.AGENT_LOST})
"""The mesh could not get the call to an answer. That is no failure of the function and costs no attempt."""
REPEATABLE: Final = frozenset({Reason.DEADLINE_EXCEEDED, Reason.INTERNAL})
"""Failures that another attempt may mend. An AGENT_ERROR is one where it says that it is retryable."""
PATIENT: Final = timedelta(minutes=10)
"""What has waited for the mesh for that long, and has no timeout to miss, asks less often and need not be in memory meanwhile."""

_EXCEPTION_TYPE: Final = "exception_type"
"""In the metadata of an AGENT_ERROR, what the function raised."""
_CANCELLATION: Final = "cancellation"
_STOPPED: Final = "STOPPED"
"""In the metadata of a DEADLINE_EXCEEDED, what the agent says of the function that it has ended."""
_UNKNOWN: Final = frozenset({Reason.OUTCOME_UNKNOWN, Reason.DEADLINE_EXCEEDED, Reason.AGENT_LOST})


def settle(transition: Transition, task: Task, failure: Failure, instance_id: str) -> None:
    """Tries a task again whose attempt failed, or ends it."""
    definition = transition.execution.definition_for(task)
    policy = definition.retry
    if _is_named(policy.never, failure):
        outcomes.fail(transition, task, failure, instance_id=instance_id)
    elif _is_outage(task, failure) or (definition.timeout is None and _waited_in_vain(failure)):
        _wait_for_mesh(transition, task, failure, instance_id)
    elif _is_worth_another(policy, task, failure):
        _wait_for_function(transition, task, failure, instance_id, policy)
    else:
        outcomes.fail(transition, task, failure, instance_id=instance_id)


def may_have_run(failure: Failure) -> bool:
    """Tells whether a function may have done what it is for although its attempt failed."""
    return (failure.reason in _UNKNOWN and failure.metadata.get(NOT_SENT) != "true") or _may_have_been_sent(failure)


def _is_outage(task: Task, failure: Failure) -> bool:
    if failure.reason not in OUTAGES:
        return False
    # What a run ended with was waited for there; only that it could not be started is an outage here.
    return task.kind is not Kind.RUN or failure.metadata.get(NOT_SENT) == "true"


def _waited_in_vain(failure: Failure) -> bool:
    """Tells whether no instance had room for a call until the function's own time was over. The step may wait for longer than that."""
    return failure.reason is Reason.DEADLINE_EXCEEDED and failure.metadata.get(NOT_SENT) == "true"


def _is_worth_another(policy: Retry, task: Task, failure: Failure) -> bool:
    if policy.on:
        return _is_named(policy.on, failure)
    if failure.reason is Reason.AGENT_ERROR:
        return failure.retryable
    return failure.reason in REPEATABLE or (task.kind is Kind.RUN and failure.reason in OUTAGES)


def _may_still_run(failure: Failure) -> bool:
    """Tells whether nobody has said that a function which was given up at its deadline has ended."""
    if failure.reason is not Reason.DEADLINE_EXCEEDED:
        return False
    return failure.metadata.get(_CANCELLATION) != _STOPPED and failure.metadata.get(NOT_SENT) != "true"


def _is_named(names: frozenset[str], failure: Failure) -> bool:
    """Tells whether a failure is among those of a policy: by its reason, or by what the function raised."""
    if not names:
        return False
    raised = failure.metadata.get(_EXCEPTION_TYPE, "").rpartition(".")[2] if failure.reason is Reason.AGENT_ERROR else ""
    return failure.reason.value in names or raised in names


def _may_have_been_sent(failure: Failure) -> bool:
    return failure.reason is Reason.UNAVAILABLE and failure.metadata.get(NOT_SENT) != "true"


def _wait_for_mesh(transition: Transition, task: Task, failure: Failure, instance_id: str) -> None:
    definition = transition.execution.definition_for(task)
    outage_started = task.outage_started or transition.now
    if definition.timeout is None:
        limit = outage_started + timedelta(seconds=definition.patience)
        backoff = OUTAGE if transition.now < outage_started + PATIENT else LONG_OUTAGE
    else:
        limit, backoff = task.started + timedelta(seconds=definition.timeout), OUTAGE
    retry_time = transition.now + timedelta(seconds=backoff.seconds(task.outages + 1, transition.jitter))
    if retry_time >= limit:
        outcomes.fail(transition, task, failure, instance_id=instance_id)
        return
    task = transition.task(
        task,
        state=TaskState.RETRYING,
        outages=task.outages + 1,
        outage_started=outage_started,
        uncertain=task.uncertain or _may_have_been_sent(failure),
        retry_time=retry_time,
        due=None,
        instance_id=instance_id,
        failure=failure,
    )
    _announce(transition, task)


def _wait_for_function(transition: Transition, task: Task, failure: Failure, instance_id: str, policy: Retry) -> None:
    failures = task.failures + 1
    if failures >= policy.attempts:
        outcomes.fail(transition, task, failure, instance_id=instance_id)
        return
    retry_time = transition.now + timedelta(seconds=policy.backoff.seconds(failures, transition.jitter))
    task = transition.task(
        task,
        state=TaskState.RETRYING,
        failures=failures,
        started=retry_time,
        outages=0,
        outage_started=None,
        uncertain=_may_still_run(failure),
        retry_time=retry_time,
        due=None,
        instance_id=instance_id,
        failure=failure,
    )
    _announce(transition, task)


def _announce(transition: Transition, task: Task) -> None:
    transition.event(
        EventType.TASK_RETRYING,
        step=task.step,
        task=task.index,
        attempt=task.attempt,
        instance_id=task.instance_id,
        failure=task.failure,
        retry_time=task.retry_time,
    )
    assert task.retry_time is not None  # noqa: S101 - every caller has just set it
    transition.effect(SetTimer(task.retry_time, RetryDue(task.step, task.index, task.attempt)))
