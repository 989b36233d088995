"""What the scheduler does when it is asked: store workflows, start runs, tell of them, end them."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Final

from parade.wire.errors import ParadeError, Reason
from parade_chassis import paging
from parade_scheduler.decider import CancelRequested, Occurrence
from parade_scheduler.definitions.unknown import unknown
from parade_scheduler.definitions.unregistered import unregistered
from parade_scheduler.language import Definition, Examined, Fault
from parade_scheduler.leading.happenings import ElsewhereError, Whole
from parade_scheduler.model import EventType, Run, RunEvent, RunState, Workflow
from parade_scheduler.ports import Functions
from parade_scheduler.refusal import refused
from parade_scheduler.starts.start import Caller as Caller  # noqa: PLC0414  # its users find who asks beside what is asked
from parade_scheduler.starts.start import Start as Start  # noqa: PLC0414
from parade_scheduler.starts.starter import Starter
from parade_scheduler.storage.store import RunFilter, Store
from parade_scheduler.surroundings import Leads, Surroundings
from parade_scheduler.triggers.defined_starts import DefinedStarts

POLL_INTERVAL: Final = 30.0
"""Seconds after which one who waits for news of a run that is led here looks into the store without any."""
FIRST_POLL: Final = 0.1
LAST_POLL: Final = 1.0
"""Seconds between two looks after a run that is led elsewhere: from this, twice as long each time, up to that."""
LEAST_WAIT: Final = 0.05
"""Seconds that lie at least between two readings of a history that is followed."""
_PAGE: Final = 50
"""How many events are read at once."""
_ENDS: Final = frozenset({EventType.RUN_SUCCEEDED, EventType.RUN_FAILED, EventType.RUN_CANCELLED})


class Engine:
    """The scheduler without its edges."""

    def __init__(
        self, process: Surroundings, store: Store, leadership: Leads, functions: Functions, starter: Starter, defined: DefinedStarts
    ) -> None:
        """Takes the time and the log, where runs are kept, what leads and begins them, who knows functions, and defined starts."""
        self._store = store
        self._journal = leadership.journal
        self._shards = leadership.shards
        self._catalogue = leadership.catalogue
        self._outbox = leadership.outbox
        self._watchers = leadership.watchers
        self._functions = functions
        self._starter = starter
        self._defined = defined
        self._clock = process.clock
        self._log = process.log
        self._putting = asyncio.Lock()

    async def put_workflow(self, caller: Caller, source: str, *, allow_unregistered: bool) -> Workflow:
        """Stores a definition as a new version, unless the newest is the same.

        Raises:
            ParadeError: INVALID_ARGUMENTS, naming every fault and its line.
        """
        definition = await self._catalogue.read(source)
        if not allow_unregistered:
            await self._check_names(caller, definition)
        workflow = Workflow(caller.namespace, definition.name, 0, definition.hash, definition.description, source, self._clock.now())
        also = self._defined.of(definition, caller.namespace, caller.principal)
        async with self._putting:
            stored = await self._catalogue.put(workflow, also, principal=caller.principal)
        self._log.info("workflow put", workflow=stored.name, version=stored.version, namespace=caller.namespace)
        return stored

    async def check_workflow(self, caller: Caller, source: str, *, allow_unregistered: bool) -> Examined:
        """Looks for every fault of a definition and stores nothing.

        Raises:
            ParadeError: UNAVAILABLE, where nobody can be asked which functions there are.
        """
        examined = await self._catalogue.examined(source)
        if examined.definition is None or allow_unregistered:
            return examined
        missing = await self._missing(caller, examined.definition)
        return Examined(examined.definition, tuple(sorted((*examined.faults, *missing), key=lambda fault: fault.line)))

    async def workflow(self, caller: Caller, name: str, version: int) -> Workflow:
        """Returns a version of a workflow, the newest where 0.

        Raises:
            ParadeError: NOT_FOUND.
        """
        return await self._catalogue.workflow(caller.namespace, name, version)

    async def workflows(self, caller: Caller, page_size: int, page_token: str) -> tuple[list[Workflow], str]:
        """Returns a page of the newest versions by name, and the token of the next.

        Raises:
            ParadeError: INVALID_ARGUMENTS, where the page token is bad.
        """
        size, after = paging.size_of(page_size), paging.last_of(caller.namespace, page_token)
        found = await self._catalogue.workflows(caller.namespace, after, size + 1)
        return paging.page_of(found, size, caller.namespace, lambda one: one.name, lambda one: 400 + 4 * len(one.description))

    async def start_run(self, caller: Caller, start: Start, wait: float = 0.0) -> Whole:
        """Starts a run and returns it once it is stored and has ended, or so many seconds have passed; the same request gives the same run.

        Raises:
            ParadeError: NOT_FOUND, INVALID_ARGUMENTS, NO_CAPACITY, UNAVAILABLE.
        """
        whole = await self._starter.start(caller, start)
        return await self.wait_run(caller, whole[0].id, wait) if wait and not whole[0].ended else whole

    async def run(self, caller: Caller, id: str) -> Whole:
        """Returns a run with its steps.

        Raises:
            ParadeError: NOT_FOUND.
        """
        if self._journal.holds(id):
            with suppress(ElsewhereError):
                return _found(await self._journal.request(id, None, namespace=caller.namespace), caller, id)
        run = await self._store.run(caller.namespace, id)
        return _found(None if run is None else (run, await self._store.steps(run.id)), caller, id)

    async def wait_run(self, caller: Caller, id: str, seconds: float) -> Whole:
        """Waits until a run has ended or the time has passed, and returns it as it then is.

        Raises:
            ParadeError: NOT_FOUND; UNAVAILABLE, where the process stops first.
        """
        deadline, pause = self._clock.monotonic() + seconds, FIRST_POLL
        with self._watchers.awaiting_end(id) as watcher:
            while True:
                brief = await self.brief_run(caller, id)
                left = deadline - self._clock.monotonic()
                if brief.ended or left <= 0:
                    return await self.run(caller, id)
                await watcher.news(min(left, POLL_INTERVAL if self._shards.owns(id) else pause))
                if watcher.ended is not None:
                    return watcher.ended
                pause = min(2 * pause, LAST_POLL)

    async def runs(self, wanted: RunFilter, page_size: int, page_token: str) -> tuple[list[Run], str]:
        """Returns a page of runs, newest first, and the token of the next.

        Raises:
            ParadeError: INVALID_ARGUMENTS, where the page token is bad.
        """
        scope = " ".join(
            map(
                str,
                (
                    wanted.namespace,
                    wanted.workflow,
                    sorted(wanted.states),
                    sorted(wanted.labels),
                    sorted(wanted.inputs),
                    wanted.since,
                    wanted.before,
                ),
            )
        )
        size, before = paging.size_of(page_size), paging.last_of(scope, page_token)
        found = await self._store.runs(wanted, before, size + 1)
        return paging.page_of(found, size, scope, lambda run: run.id, _weight)

    async def watch_run(self, caller: Caller, id: str, after: int) -> AsyncGenerator[RunEvent, None]:
        """Yields a run's history from after a sequence number on, until the run has ended.

        Raises:
            ParadeError: NOT_FOUND; UNAVAILABLE, where the process stops first.
        """
        pause = FIRST_POLL
        with self._watchers.watching(id) as watcher:
            brief = await self._stored_brief(caller, id)
            if brief.ended and after >= brief.last_sequence:
                return
            while True:
                events = await self._store.events(id, after, _PAGE)
                for event in events:
                    yield event
                    after = event.sequence
                    if event.type in _ENDS:
                        return
                if len(events) == _PAGE:
                    continue
                pause = FIRST_POLL if events else min(2 * pause, LAST_POLL)
                read_at = self._clock.monotonic()
                await watcher.news(POLL_INTERVAL if self._shards.owns(id) else pause)
                # A run whose steps end by the thousand is read in pieces that are worth it.
                await self._clock.sleep(max(0.0, read_at + LEAST_WAIT - self._clock.monotonic()))

    async def cancel_run(self, caller: Caller, id: str, reason: str) -> Whole:
        """Asks a run to end, and returns it once that is stored.

        Raises:
            ParadeError: NOT_FOUND; FAILED_PRECONDITION, where it ended in another way.
        """
        run, steps = await self.happen(caller, id, CancelRequested(reason, caller.principal))
        if run.state in (RunState.SUCCEEDED, RunState.FAILED):
            raise ParadeError(Reason.FAILED_PRECONDITION, f"the run `{id}` has ended already: it is {run.state}")
        return run, steps

    async def happen(self, caller: Caller, id: str, occurrence: Occurrence) -> Whole:
        """Lets something happen to a run, whichever replica leads it, and returns the run once what followed is stored.

        Nothing happens to a run that has ended.

        Raises:
            ParadeError: NOT_FOUND; UNAVAILABLE, where it could not be stored; NO_CAPACITY.
        """
        brief = await self.brief_run(caller, id)
        if brief.ended:
            return await self.run(caller, id)
        if self._shards.owns(id):
            with suppress(ElsewhereError):
                return _found(await self._journal.request(id, occurrence, namespace=caller.namespace), caller, id)
        await self._outbox.happen(id, occurrence)
        return await self.run(caller, id)

    async def brief_run(self, caller: Caller, id: str) -> Run:
        """Returns a run, of which state and outputs may be older than what is stored, but not where it has ended."""
        held = self._journal.held(id)
        if held is not None and not held.ended:
            return _found((held, []), caller, id)[0]
        return await self._stored_brief(caller, id)

    async def _stored_brief(self, caller: Caller, id: str) -> Run:
        run = await self._store.brief_run(caller.namespace, id)
        return _found(None if run is None else (run, []), caller, id)[0]

    async def _check_names(self, caller: Caller, definition: Definition) -> None:
        missing = await self._missing(caller, definition)
        if missing:
            faults = [fault.violation() for fault in missing]
            message = "the workflow names what does not exist; start its agents and put what it runs first, or allow unregistered ones"
            raise refused(faults, message)

    async def _missing(self, caller: Caller, definition: Definition) -> tuple[Fault, ...]:
        """Returns a fault for every function and workflow that is named and not there."""
        functions = await unregistered(self._functions, caller.namespace, caller.principal, definition)
        workflows = await unknown(self._catalogue, caller.namespace, definition)
        return tuple(sorted((*functions, *workflows), key=lambda fault: fault.line))


def _found(whole: Whole | None, caller: Caller, id: str) -> Whole:
    if whole is None or whole[0].namespace != caller.namespace:
        raise ParadeError(Reason.NOT_FOUND, f"the run `{id}` does not exist in the namespace `{caller.namespace}`")
    return whole


def _weight(run: Run) -> int:
    labels = sum(len(key) + 4 * len(value) for key, value in run.labels.items())
    return 400 + labels + (0 if run.failure is None else 4 * len(str(run.failure)))
