"""How a call is made now: which instance has it, until when, what is tried again, and what became of it. It knows no wire, no workflow."""

import asyncio
import difflib
import itertools
import math
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field

from opentelemetry import trace

from parade.wire.errors import ParadeError, Reason, Violation, invalid
from parade.wire.identity import Kind
from parade_chassis.ids import Ids
from parade_dispatcher.choice import Choice, Slot
from parade_dispatcher.measurements import Measurements
from parade_dispatcher.model import (
    CALLABLE,
    Agent,
    Answer,
    Assigned,
    Call,
    Event,
    Function,
    Instance,
    Item,
    LostError,
    Request,
    Result,
    Said,
)
from parade_dispatcher.ports import Known, Reach
from parade_dispatcher.schemas import Schemas

FIRST_PICTURE_TIMEOUT = 5.0
"""Seconds that a call waits, after the start, until it is known who exists."""
RETRY_AFTER = 1
RETRY_AFTER_PAUSE = 5
"""Seconds after which a refused call is worth another try; the second where an agent is paused."""
NAMES_COMPARED = 2000
"""Functions that are looked through for a name like the one that does not exist."""

_ANSWERS = frozenset(
    {
        Reason.AGENT_ERROR,
        Reason.UNKNOWN_FUNCTION,
        Reason.INVALID_ARGUMENTS,
        Reason.NO_CAPACITY,
        Reason.DEADLINE_EXCEEDED,
        Reason.CANCELLED,
    }
)
"""What an agent may answer by its contract. Another reason is a failure of something that its function used."""


@dataclass(slots=True)
class _Job:
    """A call under way."""

    request: Request
    function: Function
    call: Call
    limit: float
    """Seconds that the call may take."""
    deadline: float
    """When they are over, by the event loop's clock."""
    tried: set[str] = field(default_factory=set)
    """The instances that have had it."""
    lost: LostError | None = None
    """The last loss of an instance that had it."""
    passed_on: bool = False
    """Whether its caller has got a part of what it wanted."""

    def remaining(self) -> float:
        return self.deadline - asyncio.get_running_loop().time()


class Engine:
    """Makes calls."""

    def __init__(self, known: Known, reach: Reach, choice: Choice, schemas: Schemas, ids: Ids, measurements: Measurements) -> None:
        """Takes its parts."""
        self._known = known
        self._reach = reach
        self._choice = choice
        self._schemas = schemas
        self._ids = ids
        self._measurements = measurements

    async def call(self, request: Request) -> Answer:
        """Calls a function and returns its result.

        Where an instance is lost, or is full after all, another one has the call, unless it may have run already and must not run twice.

        Raises:
            ParadeError: As the contract of `DispatcherService.Call` says.
        """
        job = await self._begun(request)
        if job.function.streaming:
            how = "call it as a stream: `parade call --stream`, `mesh.stream` or CallStream"
            raise invalid([Violation("function", f"{request.full_name} streams its result; {how}")])
        try:
            async with asyncio.timeout_at(job.deadline):
                while True:
                    with self._attempt(job) as slot:
                        result = await self._reach.invoke(slot.instance, job.call, job.remaining())
                        self._schemas.check_result(_result_schema(job, slot.instance), result)
                        return Answer(result, job.call.id, slot.instance.id)
        except TimeoutError as error:
            raise _expired(job) from error

    async def stream(self, request: Request) -> AsyncGenerator[Event, None]:
        """Calls a function and yields what becomes of it. A part is asked for only when the last one was taken.

        Raises:
            ParadeError: As the contract of `DispatcherService.CallStream` says.
        """
        job = await self._begun(request)
        try:
            while True:
                with self._attempt(job) as slot, _given_back_in_time(slot, job):
                    yield Assigned(job.call.id, slot.instance.id)
                    async with aclosing(self._said(job, slot.instance)) as said:
                        async for part in said:
                            job.passed_on = job.passed_on or isinstance(part, Item | Result)
                            yield part
                    return
        except TimeoutError as error:
            raise _expired(job) from error

    async def _begun(self, request: Request) -> _Job:
        start = asyncio.get_running_loop().time()
        asked = math.inf if request.timeout is None else request.timeout
        if request.step is not None and request.caller.kind is not Kind.SCHEDULER:
            raise ParadeError(
                Reason.PERMISSION_DENIED, f"{request.caller.uri} may not say for which step a call is made; the scheduler may"
            )
        if not await self._known.synced(min(FIRST_PICTURE_TIMEOUT, asked)):
            raise ParadeError(Reason.UNAVAILABLE, "the agent_manager has not said yet which agents there are")
        function = self._function(request)
        step = request.step
        if step is not None and step.redelivered and not function.effect.repeatable:
            message = f"{request.full_name} has effects and may have run for this step already; it is not called again"
            raise ParadeError(Reason.OUTCOME_UNKNOWN, message, metadata={"function": request.full_name})
        self._schemas.check_arguments(function.arguments_schema, request.arguments)
        call = Call(
            id=self._ids.new("call"),
            function=request.function,
            arguments=request.arguments,
            namespace=request.namespace,
            principal=request.principal,
            run_id=step.run_id if step is not None else "",
            step=step.step if step is not None else "",
        )
        trace.get_current_span().set_attributes({"parade.function": request.full_name, "parade.call_id": call.id})
        limit = min(asked, function.timeout)
        return _Job(request, function, call, limit, start + limit)

    def _function(self, request: Request) -> Function:
        agent = self._known.agent(request.namespace, request.agent)
        function = agent.functions.get(request.function) if agent is not None else None
        if function is not None:
            return function
        names = list(itertools.islice(self._known.functions(request.namespace), NAMES_COMPARED))
        alike = difflib.get_close_matches(request.full_name, names, n=1)
        what = f"no agent {request.agent}" if agent is None else f"no function {request.full_name}"
        hint = f"; did you mean {alike[0]}?" if alike else ""
        message = f"there is {what} in namespace {request.namespace}{hint}"
        raise ParadeError(Reason.UNKNOWN_FUNCTION, message, metadata={"function": request.full_name})

    @contextmanager
    def _attempt(self, job: _Job) -> Iterator[Slot]:
        """Gives the call to one instance. Leaves quietly, without a result, where another instance may have it next."""
        slot = self._assigned(job)
        instance = slot.instance
        start = job.remaining()
        outcome = Reason.INTERNAL.value
        try:
            yield slot
            outcome = "OK"
            self._choice.proved_healthy(instance.id)
        except LostError as loss:
            self._choice.set_aside(instance.id)
            job.lost = loss
            final = _lost(job, instance)
            outcome = final.reason.value if final is not None else Reason.AGENT_LOST.value
            if final is not None:
                raise final from loss
        except ParadeError as error:
            self._choice.proved_healthy(instance.id)  # whatever it answered, it answered
            outcome = error.reason.value
            if error.reason is not Reason.NO_CAPACITY or job.passed_on:
                raise _answered(error, job, instance) from error
        except TimeoutError:
            outcome = Reason.DEADLINE_EXCEEDED.value
            raise
        except (asyncio.CancelledError, GeneratorExit):
            outcome = (Reason.CANCELLED if job.remaining() > 0 else Reason.DEADLINE_EXCEEDED).value
            raise
        finally:
            slot.give_back()
            self._measurements.attempt(job.request, instance, outcome, start - job.remaining())

    def _assigned(self, job: _Job) -> Slot:
        request = job.request
        agent = self._known.agent(request.namespace, request.agent)
        instances = [
            instance for instance in self._known.instances(request.namespace, request.agent) if request.function in instance.functions
        ]
        slot = None if agent is None or agent.paused else self._choice.take(instances, job.tried)
        if slot is None:
            raise self._refusal(job, agent, instances)
        job.tried.add(slot.instance.id)
        trace.get_current_span().set_attribute("parade.instance", slot.instance.id)
        return slot

    def _refusal(self, job: _Job, agent: Agent | None, instances: list[Instance]) -> ParadeError:
        name = job.request.agent
        metadata = {"function": job.request.full_name, "call_id": job.call.id}
        if job.lost is not None:
            message = f"the instance of {name} that had the call was lost, and no other can take it: {job.lost.message}"
            return ParadeError(Reason.AGENT_LOST, message, metadata=metadata)
        ready = [instance for instance in instances if instance.state in CALLABLE]
        untried = [instance for instance in ready if instance.id not in job.tried]
        pause = self._choice.pause_left(untried)
        retry_after = RETRY_AFTER
        if agent is not None and agent.paused:
            message, retry_after = f"{name} is paused; it takes calls again when it is resumed", RETRY_AFTER_PAUSE
        elif not ready:
            states = ", ".join(sorted(instance.state.value for instance in instances))
            message = f"no instance that serves {job.request.full_name} is ready; " + (
                f"there are: {states}" if states else "none is running"
            )
        elif pause > 0:
            message, retry_after = f"every instance of {name} has just failed and is left alone for a while", math.ceil(pause)
        else:
            running = sum(self._choice.outstanding(instance.id) for instance in ready)
            message = f"every instance of {name} is full; {len(ready)} in all, which run {running} calls from here"
        return ParadeError(Reason.NO_CAPACITY, message, metadata={**metadata, "retry_after": str(retry_after)})

    async def _said(self, job: _Job, instance: Instance) -> AsyncGenerator[Said, None]:
        """Yields what an instance says, checked. A result is held back until the instance has ended well."""
        schema = _result_schema(job, instance)
        result: Result | None = None
        async with aclosing(self._reach.stream(instance, job.call, job.remaining())) as parts:
            while True:
                async with asyncio.timeout_at(job.deadline):
                    part = await anext(parts, None)
                if part is None:
                    break
                if result is not None:
                    raise ParadeError(Reason.AGENT_ERROR, "the agent went on after its result")
                if isinstance(part, Item if not job.function.streaming else Result):
                    kind = "a result" if job.function.streaming else "an item"
                    raise ParadeError(Reason.AGENT_ERROR, f"the agent sent {kind}, which is not what this function gives")
                if isinstance(part, Item):
                    self._schemas.check_result(schema, part.value, "item")
                if isinstance(part, Result):
                    self._schemas.check_result(schema, part.value)
                    result = part
                else:
                    yield part
        if result is not None:
            yield result
        elif not job.function.streaming:
            raise ParadeError(Reason.AGENT_ERROR, "the agent ended the call without a result")


@contextmanager
def _given_back_in_time(slot: Slot, job: _Job) -> Iterator[None]:
    """Frees the place at the deadline even where the caller does not take what it was sent; the instance's own call ends then too."""
    timer = asyncio.get_running_loop().call_at(job.deadline, slot.give_back)
    try:
        yield
    finally:
        timer.cancel()


def _result_schema(job: _Job, instance: Instance) -> bytes:
    # Instances of two versions may run side by side: each is held to its own word.
    return instance.functions.get(job.request.function, job.function).result_schema


def _lost(job: _Job, instance: Instance) -> ParadeError | None:
    """Returns the error that ends the call after a loss; None where another instance may have it."""
    loss = job.lost
    metadata = _facts(job, instance)
    if loss is not None and loss.sent and not job.function.effect.repeatable:
        message = f"{instance.id} was lost before it answered; {job.request.full_name} has effects, and whether it ran is not known"
        return ParadeError(Reason.OUTCOME_UNKNOWN, f"{message}: {loss.message}", metadata=metadata)
    if loss is not None and job.passed_on:
        message = f"{instance.id} was lost after a part of the result was passed on: {loss.message}"
        return ParadeError(Reason.AGENT_LOST, message, metadata=metadata)
    return None


def _answered(error: ParadeError, job: _Job, instance: Instance) -> ParadeError:
    metadata = {**error.metadata, **_facts(job, instance)}
    if error.reason in _ANSWERS:
        return ParadeError(error.reason, error.message, violations=error.violations, metadata=metadata, retryable=error.retryable)
    metadata["reason"] = error.reason.value
    return ParadeError(Reason.AGENT_ERROR, error.message, violations=error.violations, metadata=metadata)


def _expired(job: _Job) -> ParadeError:
    whose = "the function's own limit" if job.limit == job.function.timeout else "the caller's limit"
    message = f"{job.request.full_name} did not end within {job.limit:.3g} s, {whose}"
    return ParadeError(Reason.DEADLINE_EXCEEDED, message, metadata={"function": job.request.full_name, "call_id": job.call.id})


def _facts(job: _Job, instance: Instance) -> dict[str, str]:
    return {"function": job.request.full_name, "instance": instance.id, "call_id": job.call.id}
