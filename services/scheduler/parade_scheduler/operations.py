"""What can be done with runs beside starting, watching and cancelling one: pause, signal, approve, repeat, branch off, many at once."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from parade.wire.errors import ParadeError, Reason, Violation, invalid
from parade_chassis import paging
from parade_chassis.ids import Ids
from parade_scheduler.approval import Approval, ApprovalFilter, ApprovalState, Resolution, may_resolve
from parade_scheduler.decider import ApprovalResolved, PauseRequested, ResumeRequested, SignalReceived
from parade_scheduler.definitions.catalogue import Catalogue
from parade_scheduler.document import Document
from parade_scheduler.engine import Caller, Engine, Start
from parade_scheduler.language.definition import Definition
from parade_scheduler.language.definition import Signal as SignalWait
from parade_scheduler.language.inputs import validator, violations
from parade_scheduler.leading.happenings import Whole
from parade_scheduler.model import RUN_ENDED, EventType, Run, RunEvent, RunState
from parade_scheduler.refusal import refused
from parade_scheduler.starts.seed import Seed, branched, inputs_of, repeated
from parade_scheduler.storage.approvals import Place, place_of
from parade_scheduler.storage.store import RunFilter, Store

MAX_RUNS: Final = 1_000
"""How many runs one request for many takes."""
MAX_AT_ONCE: Final = 64
"""How many of them are under way at once."""
_LAST_TASK: Final = 2**31 - 1
"""The largest number that a task may have in the database."""
_PAGE: Final = 1_000
"""How many events of a history are read at once."""
_UNFINISHED: Final = frozenset(RunState) - RUN_ENDED
_ENDING: Final = frozenset({RunState.CANCELLING, RunState.COMPENSATING})
_CANCELLABLE: Final = _UNFINISHED - _ENDING
_STEP_ENDS: Final = frozenset({EventType.STEP_SUCCEEDED, EventType.STEP_FAILED, EventType.STEP_SKIPPED, EventType.STEP_CANCELLED})


@dataclass(frozen=True, slots=True)
class Signal:
    """A signal that somebody sends."""

    name: str
    value: Document
    request_id: str = ""
    """Names the request, so that a retry is known."""


@dataclass(frozen=True, slots=True)
class Rerun:
    """How a run is to be repeated."""

    run: str
    step: str
    """The first step that runs again; empty for all."""
    inputs: Mapping[str, Any]
    """Those that replace the earlier run's."""
    request_id: str = ""
    version: int = 0
    """The version of the workflow; the earlier run's where 0."""


@dataclass(frozen=True, slots=True)
class Fork:
    """Where a run is to branch off."""

    run: str
    after_sequence: int
    """The last event that the two have in common."""
    inputs: Mapping[str, Any]
    """Those that replace the earlier run's."""
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one of many runs."""

    run: str
    error: ParadeError | None = None
    """Why nothing came of it."""
    new_run: str = ""
    """The run that was started in its place."""


class Operations:
    """Does them."""

    def __init__(self, engine: Engine, store: Store, catalogue: Catalogue, ids: Ids) -> None:
        """Takes what runs are asked of, where they are kept, their workflows, and what names requests that nobody named."""
        self._engine = engine
        self._store = store
        self._catalogue = catalogue
        self._ids = ids

    async def pause(self, caller: Caller, run: str, reason: str) -> Whole:
        """Lets nothing more begin in a run, and returns it once that is stored.

        Raises:
            ParadeError: NOT_FOUND; FAILED_PRECONDITION, where it has ended, is ending or has not begun.
        """
        before = await self._engine.brief_run(caller, run)
        if before.state is RunState.QUEUED:
            raise ParadeError(Reason.FAILED_PRECONDITION, f"the run `{run}` has not begun: it waits for its concurrency group; cancel it")
        return _going_on(await self._engine.happen(caller, run, PauseRequested(caller.principal, reason)))

    async def resume(self, caller: Caller, run: str) -> Whole:
        """Lets a paused run go on, and returns it once that is stored.

        Raises:
            ParadeError: NOT_FOUND; FAILED_PRECONDITION, where it has ended or is ending.
        """
        return _going_on(await self._engine.happen(caller, run, ResumeRequested(caller.principal)))

    async def signal(self, caller: Caller, run: str, signal: Signal) -> Whole:
        """Sends a run a signal, and returns the run once that is stored.

        Raises:
            ParadeError: NOT_FOUND; FAILED_PRECONDITION, where it has ended or is ending; INVALID_ARGUMENTS, where the value does not fit
                the step that waits for it; NO_CAPACITY, where too many signals are kept.
        """
        before = await self._engine.brief_run(caller, run)
        named = signal.request_id or self._ids.new("signal")
        if not before.ended:
            _check_fit(await self._catalogue.definition_of(before), signal)
        sent = SignalReceived(signal.name, signal.value, caller.principal, named)
        whole = await self._engine.happen(caller, run, sent)
        if await self._was_received(run, sent, before.last_sequence):
            return whole
        _going_on(whole)
        raise ParadeError(Reason.NO_CAPACITY, f"the run `{run}` keeps too many signals that no step has taken; send it when some are taken")

    async def approvals(self, wanted: ApprovalFilter, page_size: int, page_token: str) -> tuple[list[Approval], str]:
        """Returns a page of approvals, the oldest first, and the token of the next.

        Raises:
            ParadeError: INVALID_ARGUMENTS, where the page token is bad.
        """
        scope = f"{wanted.namespace} {sorted(wanted.states)} {wanted.run} {wanted.workflow} {wanted.resolver}"
        size, after = paging.size_of(page_size), _place(paging.last_of(scope, page_token))
        found, rest = await self._store.approvals(wanted, after, size)
        page, token = paging.page_of(found, size, scope, lambda one: _text(place_of(one)), _weight)
        return page, token if token or rest is None else paging.token_of(scope, _text(rest))

    async def resolve(self, caller: Caller, resolution: Resolution) -> Whole:
        """Approves or rejects what a task waits for, and returns the run once that is stored.

        Raises:
            ParadeError: NOT_FOUND; PERMISSION_DENIED, where the caller is none of the approvers; FAILED_PRECONDITION, where it was resolved
                otherwise or nobody waits for it any more.
        """
        await self._engine.brief_run(caller, resolution.run)
        approval = await self._approval(caller, resolution)
        if not may_resolve(approval.approvers, caller.principal):
            named = ", ".join(approval.approvers) or "anybody but agents, for its workflow names none"
            message = f"`{resolution.step}` waits for one of: {named}; you are {caller.principal}"
            raise ParadeError(Reason.PERMISSION_DENIED, message)
        if approval.state is not ApprovalState.PENDING:
            _check_agreement(approval, resolution)
            return await self._engine.run(caller, resolution.run)
        resolved = ApprovalResolved(resolution.step, resolution.task, resolution.approved, caller.principal, resolution.note)
        whole = await self._engine.happen(caller, resolution.run, resolved)
        _check_agreement(await self._approval(caller, resolution), resolution)
        return whole

    async def rerun(self, caller: Caller, rerun: Rerun) -> Whole:
        """Starts a run that repeats an earlier one from a step on, and returns it once it is stored.

        Raises:
            ParadeError: NOT_FOUND (the run or the step); FAILED_PRECONDITION, where the run, or what the step needs, has not ended;
                INVALID_ARGUMENTS (the inputs).
        """
        earlier, steps = await self._engine.run(caller, rerun.run)
        if not earlier.ended:
            raise ParadeError(Reason.FAILED_PRECONDITION, f"the run `{rerun.run}` has not ended: it is {earlier.state}; cancel or fork it")
        version = rerun.version or earlier.version
        definition = await self._definition(earlier, version)
        seed = repeated(definition, earlier, steps, rerun.step)
        return await self._start(caller, definition, earlier, version, rerun.inputs, rerun.request_id, seed)

    async def fork(self, caller: Caller, fork: Fork) -> Whole:
        """Starts a run that is as another one was after an event, and returns it once it is stored.

        Signals that the other run had been sent by then and that no step had taken are sent to the new one.

        Raises:
            ParadeError: NOT_FOUND (the run or the event); INVALID_ARGUMENTS (the inputs).
        """
        earlier, steps = await self._engine.run(caller, fork.run)
        if fork.after_sequence > earlier.last_sequence:
            message = f"the run `{fork.run}` has no event {fork.after_sequence:,}; its newest is {earlier.last_sequence:,}"
            raise ParadeError(Reason.NOT_FOUND, message)
        definition = await self._definition(earlier, earlier.version)
        ended, signals = await self._until(fork, definition)
        seed = branched(definition, earlier, steps, ended)
        whole = await self._start(caller, definition, earlier, earlier.version, fork.inputs, fork.request_id, seed)
        for sequence, signal in signals.items():
            # The name lets a retry of this request send none twice.
            whole = await self._engine.happen(caller, whole[0].id, replace(signal, request_id=f"fork/{sequence}"))
        return whole

    async def cancel_runs(self, caller: Caller, wanted: RunFilter, reason: str, *, dry_run: bool) -> tuple[list[Outcome], bool]:
        """Cancels the newest runs of a filter that have not ended, and tells what became of each, and whether there are more."""

        async def cancel(run: Run) -> Outcome:
            await self._engine.cancel_run(caller, run.id, reason)
            return Outcome(run.id)

        found, more = await self._newest(wanted, _CANCELLABLE)
        return await _each(found, cancel, dry_run=dry_run), more

    async def rerun_runs(self, caller: Caller, wanted: RunFilter, request_id: str, *, dry_run: bool) -> tuple[list[Outcome], bool]:
        """Starts the newest runs of a filter that have ended again, and tells what became of each, and whether there are more."""
        prefix = f"{request_id}/" if request_id else ""

        async def rerun(run: Run) -> Outcome:
            new, _ = await self.rerun(caller, Rerun(run.id, "", {}, f"{prefix}{run.id}" if prefix else ""))
            return Outcome(run.id, new_run=new.id)

        found, more = await self._newest(wanted, RUN_ENDED, leave_out=prefix)
        return await _each(found, rerun, dry_run=dry_run), more

    async def _approval(self, caller: Caller, resolution: Resolution) -> Approval:
        found = await self._store.approval(caller.namespace, resolution.run, resolution.step, resolution.task)
        if found is None:
            task = f" in its task {resolution.task}" if resolution.task else ""
            message = f"the step `{resolution.step}` of the run `{resolution.run}` has not asked for an approval{task}"
            raise ParadeError(Reason.NOT_FOUND, message)
        return found

    async def _was_received(self, run: str, signal: SignalReceived, after: int) -> bool:
        """Tells whether a run has a signal: since an event of its history, or from an earlier request of the same name."""
        events = await self._store.events(run, after, _PAGE)
        if any(event.type is EventType.SIGNAL_RECEIVED and _is_of(event, signal) for event in events):
            return True
        [stored] = await self._store.load([run])
        return any(task.request_id == signal.request_id for task in stored.tasks)

    async def _definition(self, earlier: Run, version: int) -> Definition:
        return await self._catalogue.definition(await self._catalogue.workflow(earlier.namespace, earlier.workflow, version))

    async def _start(
        self, caller: Caller, definition: Definition, earlier: Run, version: int, inputs: Mapping[str, Any], request_id: str, seed: Seed
    ) -> Whole:
        given = inputs_of(definition, earlier, inputs)
        return await self._engine.start_run(
            caller, Start(earlier.workflow, version, given, request_id, earlier.labels, earlier.priority, seed)
        )

    async def _until(self, fork: Fork, definition: Definition) -> tuple[set[str], dict[int, SignalReceived]]:
        """Reads a history up to an event: which steps had ended, and by their numbers the signals that none of these had taken."""
        ended: set[str] = set()
        taken: dict[str, int] = {}
        signals: dict[int, SignalReceived] = {}
        after = 0
        while after < fork.after_sequence:
            events = await self._store.events(fork.run, after, min(_PAGE, fork.after_sequence - after))
            if not events:
                break
            for event in events:
                if event.type in _STEP_ENDS:
                    ended.add(event.step)
                elif event.type is EventType.SIGNAL_RECEIVED and event.output is not None:
                    signals[event.sequence] = SignalReceived(event.message, event.output, event.by)
                elif event.type is EventType.TASK_SUCCEEDED:
                    taken[event.step] = taken.get(event.step, 0) + 1
            after = events[-1].sequence
        for step in definition.steps.values():
            if isinstance(step.wait, SignalWait) and step.id in ended:
                name = step.wait.name
                # Each took the oldest there was.
                of_name = [sequence for sequence, signal in signals.items() if signal.name == name]
                for sequence in of_name[: taken.get(step.id, 0)]:
                    del signals[sequence]
        return ended, signals

    async def _newest(self, wanted: RunFilter, states: frozenset[RunState], leave_out: str = "") -> tuple[list[Run], bool]:
        """Returns the newest runs in some states, and whether there are more; none that a request beginning with `leave_out` started."""
        states = wanted.states & states if wanted.states else states
        found: list[Run] = []
        before = ""
        while states:
            page = await self._store.runs(replace(wanted, states=states), before, MAX_RUNS + 1)
            found += [run for run in page if not (leave_out and run.request_id.startswith(leave_out))]
            if len(found) > MAX_RUNS or len(page) <= MAX_RUNS:
                break
            before = page[-1].id
        return found[:MAX_RUNS], len(found) > MAX_RUNS


async def _each(runs: Sequence[Run], act: Callable[[Run], Awaitable[Outcome]], *, dry_run: bool) -> list[Outcome]:
    """Does something to each of many runs; what goes wrong with one does not keep it from the others."""
    if dry_run:
        return [Outcome(run.id) for run in runs]
    places = asyncio.Semaphore(MAX_AT_ONCE)

    async def one(run: Run) -> Outcome:
        async with places:
            try:
                return await act(run)
            except ParadeError as error:
                return Outcome(run.id, error)

    return list(await asyncio.gather(*map(one, runs)))


def _going_on(whole: Whole) -> Whole:
    """Returns a run that has neither ended nor is ending.

    Raises:
        ParadeError: FAILED_PRECONDITION, where it has or is.
    """
    run = whole[0]
    if run.ended or run.state in _ENDING:
        raise ParadeError(Reason.FAILED_PRECONDITION, f"the run `{run.id}` {'has ended' if run.ended else 'is ending'}: it is {run.state}")
    return whole


def _is_of(event: RunEvent, signal: SignalReceived) -> bool:
    return (event.message, event.by, event.output) == (signal.name, signal.by, signal.value)


def _check_fit(definition: Definition, signal: Signal) -> None:
    """Raises INVALID_ARGUMENTS where a signal's value does not fit the schema of a step that waits for one of its name."""
    faults: list[Violation] = []
    for step in definition.steps.values():
        wait = step.wait
        if isinstance(wait, SignalWait) and wait.name == signal.name and wait.schema is not None:
            faults += violations(validator(wait.schema), signal.value.value, "value")
    if faults:
        raise refused(list(dict.fromkeys(faults)), f"the value does not fit the signal `{signal.name}`")


def _check_agreement(approval: Approval, resolution: Resolution) -> None:
    """Raises FAILED_PRECONDITION where an approval was not resolved as it is asked now."""
    if approval.state is (ApprovalState.APPROVED if resolution.approved else ApprovalState.REJECTED):
        return
    what = f"the approval of `{approval.step}`"
    if approval.state is ApprovalState.WITHDRAWN:
        raise ParadeError(Reason.FAILED_PRECONDITION, f"nobody waits for {what} any more")
    if approval.state is ApprovalState.PENDING:
        raise ParadeError(Reason.UNAVAILABLE, f"{what} could not be resolved; ask again")
    raise ParadeError(Reason.FAILED_PRECONDITION, f"{what} was {approval.state.lower()} by {approval.by} already")


def _text(place: Place) -> str:
    return " ".join(map(str, place))


def _place(text: str) -> Place | None:
    if not text:
        return None
    match text.split(" "):
        case [created, run, step, task]:
            return paging.whole(created), run, step, min(paging.whole(task), _LAST_TASK)
    raise invalid([Violation("page_token", "is no token of this list; start again without one")])


def _weight(approval: Approval) -> int:
    return 400 + 4 * (len(approval.message) + len(approval.note)) + sum(map(len, approval.approvers))
