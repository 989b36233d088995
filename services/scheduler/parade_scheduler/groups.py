"""Concurrency groups: of the runs of a group only so many go on at once, and the others wait.

Which runs a group has is said by the store alone, and every replica may settle any group: what it decides and what it tells the runs are
one transaction. So a crash leaves nothing half done, and order and count are the same after it. Whoever writes a run that joins or leaves
has its group settled at once; a look from time to time finds those whose replica did not come to it.
"""

import asyncio
from collections.abc import Callable, Collection
from typing import Any, Final

from parade.wire.errors import ParadeError, Reason, Violation, invalid
from parade.wire.log import Log
from parade_chassis.clock import Clock
from parade_scheduler.batch import Batch
from parade_scheduler.catalogue import Catalogue
from parade_scheduler.groups_store import Group, GroupStore
from parade_scheduler.language.definition import Concurrency, Definition
from parade_scheduler.notes import JOIN_GROUP, LEAVE_GROUP
from parade_scheduler.remote import Inbox, Outbox
from parade_scheduler.rows import shard_of

INTERVAL: Final = 2.0
"""Seconds between two looks at the groups in which somebody waits."""
MAX_NAME: Final = 200
"""The longest name of a group, in characters."""


def group_of(definition: Definition, inputs: Any) -> str:
    """Returns the name of the concurrency group of a run with these inputs; empty where its workflow has none.

    Raises:
        ParadeError: INVALID_ARGUMENTS, where the inputs give no name.
    """
    if definition.concurrency is None:
        return ""
    name = definition.concurrency.group.fill({"inputs": inputs}, "concurrency.group")
    if not isinstance(name, str):
        raise invalid([Violation("inputs", f"give the concurrency group the name {str(name)[:60]}, which is no text")])
    if not 1 <= len(name) <= MAX_NAME or "\x00" in name:
        raise invalid([Violation("inputs", f"give the concurrency group a name of {len(name):,} characters; it has 1 to {MAX_NAME}")])
    return name


class Groups:
    """Lets runs of groups begin."""

    def __init__(self, store: GroupStore, catalogue: Catalogue, outbox: Outbox, inbox: Inbox, clock: Clock, log: Log) -> None:
        """Takes where groups are kept, the workflows, how runs are told, who takes that, the time and the log."""
        self._store = store
        self._catalogue = catalogue
        self._outbox = outbox
        self._inbox = inbox
        self._clock = clock
        self._log = log
        self._changed: dict[Group, None] = {}
        self._wake = asyncio.Event()

    def written(self, batch: Batch) -> None:
        """Has the groups settled that runs have joined or left."""
        for statement in (JOIN_GROUP, LEAVE_GROUP):
            for namespace, name, *_ in batch.notes.get(statement, ()):
                self._changed[Group(namespace, name)] = None
                self._wake.set()

    async def lead(self, shards: Callable[[], Collection[int]]) -> None:
        """Settles groups for as long as the process lives.

        Args:
            shards: Gives the shards of this replica; it looks at the groups of these.
        """
        next_look = self._clock.monotonic()
        while True:
            try:
                while self._changed:
                    group = next(iter(self._changed))
                    del self._changed[group]
                    await self.settle(group)
                if self._clock.monotonic() >= next_look:
                    next_look = self._clock.monotonic() + INTERVAL
                    await self.look(shards())
            except ParadeError as error:
                self._log.warning("concurrency groups cannot be settled", error=str(error))
            await self._until_changed(next_look - self._clock.monotonic())

    async def look(self, shards: Collection[int]) -> None:
        """Settles the groups of some shards in which somebody waits though there is room."""
        for group in await self._store.waiting():
            if shard_of("/".join(group)) in shards:
                await self.settle(group, if_room=True)

    async def settle(self, group: Group, *, if_room: bool = False) -> None:
        """Lets runs of a group begin, and cancels those whose place newer ones take.

        Args:
            group: The group.
            if_room: Whether to look first, at the price of a reading, whether there is anything to do.
        """
        concurrency = await self._concurrency(group)
        if concurrency is None:
            return
        if if_room and not concurrency.cancel_in_progress and not await self._store.has_room(group, concurrency.limit):
            return
        admitted, cancelled = await self._store.settle(
            group, concurrency.limit, cancels_oldest=concurrency.cancel_in_progress, command=self._outbox.command
        )
        if admitted or cancelled:
            self._inbox.look()

    async def _concurrency(self, group: Group) -> Concurrency | None:
        """Returns what the workflow says of which a group's newest run is; None where it has no runs."""
        newest = await self._store.newest(group)
        if newest is None:
            return None
        try:
            workflow = await self._catalogue.workflow(group.namespace, *newest)
            return (await self._catalogue.definition(workflow)).concurrency
        except ParadeError as error:
            if error.reason is Reason.UNAVAILABLE:
                raise
            self._log.error("concurrency group cannot be settled", group=group.name, namespace=group.namespace, error=str(error))
            return None

    async def _until_changed(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await self._wake.wait()
        except TimeoutError:
            return
        self._wake.clear()
