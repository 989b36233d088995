"""Why a call was not made, or has no result: the errors, each with what happened and what to do. It decides nothing."""

import difflib
import itertools
import math
from collections.abc import Collection, Iterable

from parade.wire.errors import ParadeError, Reason, Violation, invalid
from parade_dispatcher.member import Member
from parade_dispatcher.model import Agent, Request

RETRY_AFTER = 1
RETRY_AFTER_PAUSE = 5
"""Seconds after which a refused call is worth another try; the second where an agent is paused."""
NAMES_COMPARED = 2000
"""Functions that are looked through for a name like the one that does not exist."""


def unknown_function(request: Request, agent: Agent | None, names: Iterable[str]) -> ParadeError:
    """Makes the error for a function that does not exist; `names` are the full names of those that do."""
    full_name = request.full_name
    alike = difflib.get_close_matches(full_name, list(itertools.islice(names, NAMES_COMPARED)), n=1)
    what = f"no agent {request.agent}" if agent is None else f"no function {full_name}"
    hint = f"; did you mean {alike[0]}?" if alike else ""
    message = f"there is {what} in namespace {request.namespace}{hint}"
    return ParadeError(Reason.UNKNOWN_FUNCTION, message, metadata={"function": full_name})


def streams(request: Request) -> ParadeError:
    """Makes the error for a streaming function whose caller wants no events."""
    how = "call it as a stream: `parade call --stream`, `mesh.stream` or CallStream"
    return invalid([Violation("function", f"{request.full_name} streams its result; {how}")])


def durable(request: Request) -> ParadeError:
    """Makes the error for a call of a workflow."""
    name = request.full_name
    how = f"start it as a run: `parade run start {name}`, `mesh.start({name!r}, …)` or StartRun"
    if request.step is not None:
        how = f"run it: `run: {name}` in a step, `ctx.run({name!r}, …)` in a durable function"
    return invalid([Violation("function", f"{name} is a workflow and cannot be called; {how}")])


def not_a_scheduler(request: Request) -> ParadeError:
    """Makes the error for a caller that names a step and may not."""
    message = f"{request.caller.uri} may not say for which step a call is made; the scheduler may"
    return ParadeError(Reason.PERMISSION_DENIED, message)


def not_synced() -> ParadeError:
    """Makes the error for a call that came before it was known who exists."""
    return ParadeError(Reason.UNAVAILABLE, "the agent_manager has not said yet which agents there are")


def step_redelivered(request: Request) -> ParadeError:
    """Makes the error for a step's call with effects that may have been made before."""
    message = f"{request.full_name} has effects and may have run for this step already; it is not called again"
    return ParadeError(Reason.OUTCOME_UNKNOWN, message, metadata={"function": request.full_name})


def paused(agent: str) -> ParadeError:
    """Makes the error for an agent that takes no calls."""
    return _no_capacity(f"{agent} is paused; it takes calls again when it is resumed", RETRY_AFTER_PAUSE)


def no_instance(
    request: Request,
    instances: Collection[Member],
    untried: Collection[Member],
    pause: float,
) -> ParadeError:
    """Makes the error where there is no instance to wait for.

    Args:
        request: What was asked for.
        instances: Those that serve the function, in whatever state.
        untried: Those that suit the call, take calls and have not had it.
        pause: Seconds until one of them is on trial.
    """
    if untried and pause > 0:
        message = f"every instance of {request.agent} has just failed and is left alone for a while"
        return _no_capacity(message, math.ceil(pause))
    ready = [member for member in instances if member.callable]
    if not ready:
        states = ", ".join(sorted(member.instance.state.value for member in instances))
        have = f"there are: {states}" if states else "none is running"
        return _no_capacity(f"no instance that serves {request.full_name} is ready; {have}")
    if request.labels:
        labels = ", ".join(f"{name}={value}" for name, value in sorted(request.labels.items()))
        return _no_capacity(f"no instance of {request.agent} that is ready carries the labels {labels}; {len(ready)} carry others")
    return _no_capacity(f"no other instance of {request.agent} is ready")


def queue_full(request: Request, members: Collection[Member], waiting: int) -> ParadeError:
    """Makes the error where all instances are full and no more calls may wait."""
    running = sum(member.outstanding for member in members)
    have = f"{len(members)} in all, which run {running:,} calls from here, and {waiting:,} calls wait"
    message = f"every instance of {request.agent} is full; {have}"
    return _no_capacity(message)


def none_left(request: Request, loss: str) -> ParadeError:
    """Makes the error where an instance was lost and no other can have the call."""
    message = f"the instance of {request.agent} that had the call was lost, and no other can take it: {loss}"
    return ParadeError(Reason.AGENT_LOST, message)


def lost_too_often(request: Request, attempts: int, loss: str) -> ParadeError:
    """Makes the error where one instance after the other was lost."""
    message = f"{request.full_name} was given to {attempts} instances and each was lost; the last: {loss}"
    return ParadeError(Reason.AGENT_LOST, message)


def lost_after_items(instance_id: str, loss: str) -> ParadeError:
    """Makes the error where the instance was lost in the middle of a stream."""
    return ParadeError(Reason.AGENT_LOST, f"{instance_id} was lost after a part of the result was passed on: {loss}")


def outcome_unknown(request: Request, instance_id: str, loss: str) -> ParadeError:
    """Makes the error where nobody can say whether a function with effects ran."""
    who = instance_id or "the dispatcher or instance that had it"
    message = f"{who} was lost before it answered; {request.full_name} has effects, and whether it ran is not known"
    return ParadeError(Reason.OUTCOME_UNKNOWN, f"{message}: {loss}")


def expired(request: Request, limit: float, whose: str, *, sent: bool = True, waited: bool = False) -> ParadeError:
    """Makes the error for a call whose time is over.

    Args:
        request: What was asked for.
        limit: Seconds that the call had.
        whose: Whose limit it was.
        sent: Whether an instance may have had it; where none can, the error says so to whoever would try again.
        waited: Whether no instance had room for it all that time.
    """
    message = f"{request.full_name} did not end within {limit:.3g} s, {whose}"
    if waited:
        message += f"; it waited all that time for an instance of {request.agent} with room"
    return ParadeError(Reason.DEADLINE_EXCEEDED, message, metadata={} if sent else {"not_sent": "true"})


def cancelled(request: Request) -> ParadeError:
    """Makes the error for a call that was cancelled."""
    return ParadeError(Reason.CANCELLED, f"the call of {request.full_name} was cancelled")


def _no_capacity(message: str, retry_after: int = RETRY_AFTER) -> ParadeError:
    return ParadeError(Reason.NO_CAPACITY, message, metadata={"retry_after": str(retry_after)})


def located(error: ParadeError, request: Request, instance_id: str, attempts: int, cancellation: str) -> ParadeError:
    """Returns an error with what is known of the call.

    Args:
        error: The error.
        request: What was asked for.
        instance_id: The instance that had the call; empty where none is known.
        attempts: How often an instance was given it.
        cancellation: How far its cancellation has come; empty where nobody asked for that.
    """
    metadata = {**error.metadata, "function": request.full_name, "call_id": request.call_id}
    if instance_id:
        metadata["instance"] = instance_id
    if attempts > 1:
        metadata["attempts"] = str(attempts)
    if cancellation:
        metadata.setdefault("cancellation", cancellation)
    return ParadeError(error.reason, error.message, violations=error.violations, metadata=metadata, retryable=error.retryable)
