"""Begins runs: makes their rows, and has them begun by the replica that their shard belongs to."""

import secrets
from contextlib import suppress
from typing import Final

from parade.wire.errors import ParadeError, Reason
from parade_scheduler.decider import StartChild, Started
from parade_scheduler.document import Document
from parade_scheduler.language import Definition
from parade_scheduler.leading.happenings import ElsewhereError, Whole
from parade_scheduler.leading.remote import Beginning
from parade_scheduler.model import Parent, Run, RunState
from parade_scheduler.rights import Rights
from parade_scheduler.starts.groups import group_of
from parade_scheduler.starts.limits import Limits
from parade_scheduler.starts.seed import Seed
from parade_scheduler.starts.start import Caller, Start
from parade_scheduler.storage.store import SHARD_COUNT, Store
from parade_scheduler.surroundings import Leads, Surroundings

_ATTEMPTS: Final = 5
"""How often a start is tried anew because its shard went to another replica meanwhile."""
_WAYS: Final = 5
"""How many times and events a refusal names."""
_NOTHING: Final = Seed("")


class Starter:
    """Begins runs."""

    def __init__(self, process: Surroundings, store: Store, leadership: Leads, limits: Limits, rights: Rights) -> None:
        """Takes the time and ids, where runs are kept, what leads them, how many a namespace may have, and who may start which."""
        self._store = store
        self._journal = leadership.journal
        self._shards = leadership.shards
        self._catalogue = leadership.catalogue
        self._outbox = leadership.outbox
        self._limits = limits
        self._rights = rights
        self._clock = process.clock
        self._ids = process.ids
        self._max_runs = process.config.max_runs

    async def start(self, caller: Caller, start: Start) -> Whole:
        """Starts a run and returns it once it is stored; the same request gives the same run.

        Raises:
            ParadeError: NOT_FOUND, INVALID_ARGUMENTS, PERMISSION_DENIED, NO_CAPACITY, UNAVAILABLE.
        """
        self._rights.start(caller.namespace, caller.principal, start.workflow, is_absent=caller.is_absent)
        try:
            return await self._start(caller, start)
        except ParadeError:
            # The same request may have been accepted before, when what now stands against it did not.
            known = await self._run_of_request(caller, start) if start.request_id else None
            if known is None:
                raise
            return known

    async def start_child(self, parent: Run, effect: StartChild) -> Whole | None:
        """Starts the run that a task asks for, or returns the one there is; None where another replica has its shard now.

        Raises:
            ParadeError: NOT_FOUND, INVALID_ARGUMENTS, PERMISSION_DENIED, UNAVAILABLE.
        """
        self._rights.start_child(parent, effect.workflow)
        workflow = await self._catalogue.workflow(parent.namespace, effect.workflow)
        definition = await self._catalogue.definition(workflow)
        inputs = Document.of(definition.inputs.complete(effect.inputs.value))
        group = group_of(definition, inputs.value)
        if group and await self._is_within(group, parent):
            group = ""  # it goes on within that run's place, which is not free before its own end
        run = Run(
            id=effect.run,
            namespace=parent.namespace,
            workflow=workflow.name,
            version=workflow.version,
            inputs=inputs,
            create_time=self._clock.now(),
            state=RunState.QUEUED if group else RunState.RUNNING,
            labels=parent.labels,
            principal=parent.principal,
            trace_parent=parent.trace_parent,
            priority=parent.priority,
            parent=Parent(parent.id, effect.step, effect.task, effect.attempt),
            group=group,
        )
        try:
            started = await self._journal.start(self._catalogue.execution(definition, run), Started())
        except ElsewhereError:
            return None
        return started or await self._stored(run)

    async def _start(self, caller: Caller, start: Start) -> Whole:
        workflow = await self._catalogue.workflow(caller.namespace, start.workflow, start.version)
        definition = await self._catalogue.definition(workflow)
        if start.by_hand and not definition.manual:
            message = (
                f"the workflow `{workflow.name}` is not started by hand: it says `manual: false`, and starts {_started_by(definition)}"
            )
            raise ParadeError(Reason.FAILED_PRECONDITION, message)
        inputs = Document.of(definition.inputs.complete(start.inputs.value))
        self._limits.check_inputs(inputs)
        group = group_of(definition, inputs.value)
        seed = start.seed or _NOTHING
        if self._journal.active >= self._max_runs:
            raise ParadeError(Reason.NO_CAPACITY, f"{self._max_runs:,} runs go on already; try again when some have ended")
        await self._limits.admit_run(caller.namespace, group)
        for _ in range(_ATTEMPTS):
            shard = self._shards.any()
            run = Run(
                id=f"{self._ids.new('run')}-{secrets.randbelow(SHARD_COUNT) if shard is None else shard:02}",
                namespace=caller.namespace,
                workflow=workflow.name,
                version=workflow.version,
                inputs=inputs,
                create_time=self._clock.now(),
                state=RunState.QUEUED if group else RunState.RUNNING,
                labels=dict(start.labels),
                principal=caller.principal,
                request_id=start.request_id,
                trace_parent=caller.trace_parent,
                failure=seed.failure,
                priority=definition.priority if start.priority is None else start.priority,
                group=group,
                origin=seed.origin,
            )
            beginning = Beginning(run, seed.steps)
            started = await self._start_here(definition, beginning) if shard is not None else await self._start_elsewhere(beginning)
            found = started or (await self._run_of_request(caller, start) if start.request_id else None)
            if found is not None:
                return found
        raise ParadeError(Reason.UNAVAILABLE, "the run could not be started where it belongs; ask again")

    async def _start_here(self, definition: Definition, beginning: Beginning) -> Whole | None:
        """Starts a run; returns None where another has its request, or its shard has gone to another replica."""
        with suppress(ElsewhereError):
            return await self._journal.start(self._catalogue.execution(definition, beginning.run, beginning.steps), Started())
        return None

    async def _start_elsewhere(self, beginning: Beginning) -> Whole | None:
        """Has a run started by the owner of its shard; returns None where another has its request."""
        await self._outbox.start(beginning)
        return await self._stored(beginning.run)

    async def _is_within(self, group: str, parent: Run) -> bool:
        """Tells whether a run, or one of those that started each other down to it, is in a concurrency group."""
        run: Run | None = parent
        while run is not None and run.group != group:
            run = None if run.parent is None else await self._store.brief_run(run.namespace, run.parent.run)
        return run is not None

    async def _run_of_request(self, caller: Caller, start: Start) -> Whole | None:
        run = await self._store.run_of_request(caller.namespace, start.request_id)
        return None if run is None else (run, await self._store.steps(run.id))

    async def _stored(self, run: Run) -> Whole | None:
        stored = await self._store.run(run.namespace, run.id)
        return None if stored is None else (stored, await self._store.steps(stored.id))


def _started_by(definition: Definition) -> str:
    """Says what starts runs of a workflow that are not started by hand."""
    times = [f"at `{one.cron}`" for one in definition.schedules]
    events = [f"with an event `{one.event.type}`" for one in definition.triggers]
    ways = [*times, *events]
    return ", ".join([*ways[:_WAYS], "and so on"] if len(ways) > _WAYS else ways) or "as a step of other workflows, or by a schedule"
