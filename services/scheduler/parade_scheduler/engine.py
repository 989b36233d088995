"""What the scheduler does when it is asked: store workflows, start runs, tell of them, end them."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from parade.wire.errors import ParadeError, Reason
from parade.wire.log import Log
from parade_chassis import paging
from parade_chassis.clock import Clock
from parade_chassis.ids import Ids
from parade_scheduler.decider import CancelRequested, Execution, Recovered, Started
from parade_scheduler.definitions import Definitions
from parade_scheduler.document import Document
from parade_scheduler.journal import Journal
from parade_scheduler.language import Definition, Examined
from parade_scheduler.model import Run, RunEvent, RunState, Step, Workflow
from parade_scheduler.ports import Functions
from parade_scheduler.refusal import refused
from parade_scheduler.store import RunFilter, Store
from parade_scheduler.unregistered import unregistered
from parade_scheduler.watchers import Watchers

POLL_INTERVAL: Final = 30.0
"""Seconds after which one who waits for news looks into the store without any."""
_PAGE: Final = 50
"""How many events are read at once."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks."""

    namespace: str
    principal: str
    """A SPIFFE id."""
    trace_parent: str = ""
    """The W3C `traceparent` of the request."""


@dataclass(frozen=True, slots=True)
class Start:
    """What a run is started with."""

    workflow: str
    version: int
    """0 for the newest."""
    inputs: Document
    request_id: str
    labels: Mapping[str, str]
    priority: int | None = None
    """From -100 to 100; the workflow's where None."""


class Engine:
    """The scheduler without its edges."""

    def __init__(
        self,
        store: Store,
        journal: Journal,
        watchers: Watchers,
        functions: Functions,
        *,
        clock: Clock,
        ids: Ids,
        log: Log,
        max_runs: int,
    ) -> None:
        """Takes what it works with; `max_runs` bounds how many runs go on at once."""
        self._store = store
        self._journal = journal
        self._watchers = watchers
        self._functions = functions
        self._clock = clock
        self._ids = ids
        self._log = log
        self._max_runs = max_runs
        self._definitions = Definitions()
        self._putting = asyncio.Lock()
        self._turns: dict[tuple[str, str], tuple[asyncio.Lock, int]] = {}

    async def recover(self) -> None:
        """Takes up every run that a process before this one has not brought to its end."""
        count = 0
        async for run, steps, tasks in self._store.unfinished():
            try:
                definition = await self._definition(run.namespace, run.workflow, run.version)
            except ParadeError as error:
                self._log.error("run cannot be taken up", run=run.id, workflow=run.workflow, error=str(error))
                continue
            self._journal.adopt(Execution(definition, run, steps, tasks), Recovered())
            count += 1
        if count:
            self._log.info("runs taken up", count=count)

    async def put_workflow(self, caller: Caller, source: str, *, allow_unregistered: bool) -> Workflow:
        """Stores a definition as a new version, unless the newest is the same.

        Raises:
            ParadeError: INVALID_ARGUMENTS, naming every fault and its line.
        """
        definition = await self._definitions.of_source(source)
        if not allow_unregistered:
            await self._check_functions(caller, definition)
        workflow = Workflow(caller.namespace, definition.name, 0, definition.hash, definition.description, source, self._clock.now())
        async with self._putting:
            stored = await self._store.put_workflow(workflow)
        self._log.info("workflow put", workflow=stored.name, version=stored.version, namespace=caller.namespace)
        return stored

    async def check_workflow(self, caller: Caller, source: str, *, allow_unregistered: bool) -> Examined:
        """Looks for every fault of a definition and stores nothing.

        Raises:
            ParadeError: UNAVAILABLE, where nobody can be asked which functions there are.
        """
        examined = await self._definitions.examined(source)
        if examined.definition is None or allow_unregistered:
            return examined
        missing = await unregistered(self._functions, caller.namespace, caller.principal, examined.definition)
        return Examined(examined.definition, tuple(sorted((*examined.faults, *missing), key=lambda fault: fault.line)))

    async def workflow(self, caller: Caller, name: str, version: int) -> Workflow:
        """Returns a version of a workflow, the newest where 0.

        Raises:
            ParadeError: NOT_FOUND.
        """
        found = await self._store.workflow(caller.namespace, name, version)
        if found is None:
            described = f"the workflow `{name}`" + (f" in version {version}" if version else "")
            raise ParadeError(Reason.NOT_FOUND, f"{described} does not exist in the namespace `{caller.namespace}`")
        return found

    async def workflows(self, caller: Caller, page_size: int, page_token: str) -> tuple[list[Workflow], str]:
        """Returns a page of the newest versions by name, and the token of the next.

        Raises:
            ParadeError: INVALID_ARGUMENTS, where the page token is bad.
        """
        size, after = paging.size_of(page_size), paging.last_of(caller.namespace, page_token)
        found = await self._store.workflows(caller.namespace, after, size + 1)
        return paging.page_of(found, size, caller.namespace, lambda one: one.name, lambda one: 400 + 4 * len(one.description))

    async def start_run(self, caller: Caller, start: Start) -> tuple[Run, list[Step]]:
        """Starts a run and returns it once it is stored; the same request gives the same run.

        Raises:
            ParadeError: NOT_FOUND, INVALID_ARGUMENTS, NO_CAPACITY.
        """
        if not start.request_id:
            return await self._start(caller, start)
        async with self._turn(caller.namespace, start.request_id):
            known = await self._store.run_of_request(caller.namespace, start.request_id)
            if known is not None:
                return known, await self._store.steps(known.id)
            return await self._start(caller, start)

    async def run(self, caller: Caller, id: str) -> tuple[Run, list[Step]]:
        """Returns a run with its steps.

        Raises:
            ParadeError: NOT_FOUND.
        """
        run = _found(await self._store.run(caller.namespace, id), caller, id)
        return run, await self._store.steps(run.id)

    async def wait_run(self, caller: Caller, id: str, seconds: float) -> tuple[Run, list[Step]]:
        """Waits until a run has ended or the time has passed, and returns it as it then is.

        Raises:
            ParadeError: NOT_FOUND; UNAVAILABLE, where the process stops first.
        """
        deadline = self._clock.monotonic() + seconds
        with self._watchers.watching(id) as watcher:
            while True:
                brief = await self._brief_run(caller, id)
                left = deadline - self._clock.monotonic()
                if brief.ended or left <= 0:
                    return await self.run(caller, id)
                await watcher.news(min(left, POLL_INTERVAL))

    async def runs(self, wanted: RunFilter, page_size: int, page_token: str) -> tuple[list[Run], str]:
        """Returns a page of runs, newest first, and the token of the next.

        Raises:
            ParadeError: INVALID_ARGUMENTS, where the page token is bad.
        """
        scope = f"{wanted.namespace} {wanted.workflow} {sorted(wanted.states)} {sorted(wanted.labels)} {wanted.since} {wanted.before}"
        size, before = paging.size_of(page_size), paging.last_of(scope, page_token)
        found = await self._store.runs(wanted, before, size + 1)
        return paging.page_of(found, size, scope, lambda run: run.id, _weight)

    async def watch_run(self, caller: Caller, id: str, after: int) -> AsyncGenerator[RunEvent, None]:
        """Yields a run's history from after a sequence number on, until the run has ended.

        Raises:
            ParadeError: NOT_FOUND; UNAVAILABLE, where the process stops first.
        """
        with self._watchers.watching(id) as watcher:
            while True:
                run = await self._brief_run(caller, id)
                while after < run.last_sequence:
                    for event in await self._store.events(id, after, _PAGE):
                        yield event
                        after = event.sequence
                if run.ended:
                    return
                await watcher.news(POLL_INTERVAL)

    async def cancel_run(self, caller: Caller, id: str, reason: str) -> tuple[Run, list[Step]]:
        """Asks a run to end, and returns it once that is stored.

        Raises:
            ParadeError: NOT_FOUND; FAILED_PRECONDITION, where it ended in another way.
        """
        run = await self._brief_run(caller, id)
        if not run.ended:
            await self._journal.request(id, CancelRequested(reason))
            run = await self._brief_run(caller, id)
        if run.state in (RunState.SUCCEEDED, RunState.FAILED):
            raise ParadeError(Reason.FAILED_PRECONDITION, f"the run `{id}` has ended already: it is {run.state}")
        return await self.run(caller, id)

    async def _brief_run(self, caller: Caller, id: str) -> Run:
        return _found(await self._store.brief_run(caller.namespace, id), caller, id)

    async def _start(self, caller: Caller, start: Start) -> tuple[Run, list[Step]]:
        if self._journal.active >= self._max_runs:
            raise ParadeError(Reason.NO_CAPACITY, f"{self._max_runs:,} runs go on already; try again when some have ended")
        workflow = await self.workflow(caller, start.workflow, start.version)
        definition = await self._definitions.of(workflow)
        inputs = Document.of(definition.inputs.complete(start.inputs.value))
        run = Run(
            id=self._ids.new("run"),
            namespace=caller.namespace,
            workflow=workflow.name,
            version=workflow.version,
            inputs=inputs,
            create_time=self._clock.now(),
            labels=dict(start.labels),
            principal=caller.principal,
            request_id=start.request_id,
            trace_parent=caller.trace_parent,
        )
        decisions = await self._journal.start(Execution(definition, run), Started())
        return decisions.run or run, sorted(decisions.steps, key=lambda step: step.position)

    @asynccontextmanager
    async def _turn(self, namespace: str, request_id: str) -> AsyncIterator[None]:
        """Lets one request of a name in at a time."""
        key = (namespace, request_id)
        turn, waiting = self._turns.get(key, (asyncio.Lock(), 0))
        self._turns[key] = (turn, waiting + 1)
        try:
            async with turn:
                yield
        finally:
            waiting = self._turns[key][1] - 1
            if waiting:
                self._turns[key] = (turn, waiting)
            else:
                del self._turns[key]

    async def _definition(self, namespace: str, name: str, version: int) -> Definition:
        return await self._definitions.of(await self.workflow(Caller(namespace, ""), name, version))

    async def _check_functions(self, caller: Caller, definition: Definition) -> None:
        missing = await unregistered(self._functions, caller.namespace, caller.principal, definition)
        if missing:
            faults = [fault.violation() for fault in missing]
            raise refused(faults, "the workflow calls functions that do not exist; start their agents first, or allow unregistered ones")


def _found(run: Run | None, caller: Caller, id: str) -> Run:
    if run is None:
        raise ParadeError(Reason.NOT_FOUND, f"the run `{id}` does not exist in the namespace `{caller.namespace}`")
    return run


def _weight(run: Run) -> int:
    labels = sum(len(key) + 4 * len(value) for key, value in run.labels.items())
    return 400 + labels + (0 if run.failure is None else 4 * len(str(run.failure)))
