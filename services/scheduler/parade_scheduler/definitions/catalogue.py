"""The workflows, stored or in code, and those of their definitions that were used lately, so that starting a run reads nothing."""

from collections.abc import Iterable
from typing import Final

from parade.wire.errors import ParadeError, Reason
from parade_chassis.clock import Clock
from parade_scheduler.decider import Execution
from parade_scheduler.definitions.definitions import WEIGHT, Definitions
from parade_scheduler.definitions.durables import Durables, is_durable
from parade_scheduler.definitions.secrets import Secrets
from parade_scheduler.definitions.weighed_cache import WeighedCache
from parade_scheduler.language import Definition, Examined
from parade_scheduler.model import Run, Step, Task, Workflow
from parade_scheduler.storage.store import Store
from parade_scheduler.storage.workflows import Also

MAX_WEIGHT: Final = 16 * 1024 * 1024
"""How long the sources of the workflows that are kept may be together, in characters."""
FRESH: Final = 1.0
"""Seconds for which the newest version of a name is taken to be the newest where another replica may put one."""


class Catalogue:
    """Finds workflows and their definitions."""

    def __init__(self, store: Store, durables: Durables, secrets: Secrets, clock: Clock, *, alone: bool) -> None:
        """Takes what it looks into.

        Args:
            store: Where workflows are stored.
            durables: Knows those in code.
            secrets: What they may hand to functions.
            clock: The time.
            alone: Whether no other process puts any.
        """
        self._store = store
        self._durables = durables
        self._secrets = secrets
        self._clock = clock
        self._alone = alone
        self._definitions = Definitions()
        self._newest: WeighedCache[tuple[str, str], tuple[Workflow, float]] = WeighedCache(MAX_WEIGHT)

    async def read(self, source: str) -> Definition:
        """Reads a definition.

        Raises:
            ParadeError: INVALID_ARGUMENTS with every fault and its line.
        """
        return await self._definitions.of_source(source)

    async def examined(self, source: str) -> Examined:
        """Looks for the faults of a definition."""
        return await self._definitions.examined(source)

    async def put(self, workflow: Workflow, also: Also | None = None, *, principal: str = "") -> Workflow:
        """Stores a definition that `principal` puts as the next version of its name, or returns the newest where that is the same.

        What `also` writes is stored with it.
        """
        stored = await self._store.put_workflow(workflow, also, principal=principal)
        self._keep(stored)
        return stored

    async def workflow(self, namespace: str, name: str, version: int = 0) -> Workflow:
        """Returns a version of a workflow, the newest where 0.

        Raises:
            ParadeError: NOT_FOUND.
        """
        if is_durable(name):
            return await self._durables.workflow(namespace, name, version)
        known = self._known(namespace, name, version)
        if known is not None:
            return known
        found = await self._store.workflow(namespace, name, version)
        if found is None:
            described = f"the workflow `{name}`" + (f" in version {version}" if version else "")
            raise ParadeError(Reason.NOT_FOUND, f"{described} does not exist in the namespace `{namespace}`")
        if not version:
            self._keep(found)
        return found

    async def workflows(self, namespace: str, after: str, limit: int) -> list[Workflow]:
        """Returns the newest versions by name, from the one after `after` on, without their sources."""
        return await self._store.workflows(namespace, after, limit)

    async def definition(self, workflow: Workflow) -> Definition:
        """Returns the definition of a stored workflow."""
        if is_durable(workflow.name):
            return await self._durables.definition(workflow.namespace, workflow.name)
        return await self._definitions.of(workflow)

    async def definition_of(self, run: Run) -> Definition:
        """Returns the definition that a run is pinned to.

        Raises:
            ParadeError: NOT_FOUND; INVALID_ARGUMENTS, where it can no longer be read.
        """
        if is_durable(run.workflow):
            return self._durables.begun(run.workflow)
        known = self._definitions.known(run.namespace, run.workflow, run.version)
        if known is not None:
            return known
        return await self._definitions.of(await self.workflow(run.namespace, run.workflow, run.version))

    def execution(self, definition: Definition, run: Run, steps: Iterable[Step] = (), tasks: Iterable[Task] = ()) -> Execution:
        """Makes a run from its rows, with the secrets of its namespace at hand."""
        return Execution(definition, run, steps, tasks, secrets=self._secrets.of(run.namespace))

    def _known(self, namespace: str, name: str, version: int) -> Workflow | None:
        found = self._newest.get((namespace, name))
        if found is None:
            return None
        workflow, read_at = found
        if version:
            return workflow if workflow.version == version else None
        return workflow if self._alone or self._clock.monotonic() - read_at < FRESH else None

    def _keep(self, workflow: Workflow) -> None:
        key = (workflow.namespace, workflow.name)
        known = self._newest.get(key)
        # What was read before another put came back would hide that one.
        if known is not None and known[0].version > workflow.version:
            return
        self._newest.put(key, (workflow, self._clock.monotonic()), len(workflow.source) + WEIGHT)
