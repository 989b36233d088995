"""Concurrency groups: of the runs of a group only so many go on at once, and the others wait.

Which runs a group has is said by the store alone, and every replica may settle any group: what it decides and what it tells the runs are
one transaction. So a crash leaves nothing half done, and order and count are the same after it. Whoever writes a run that joins or leaves
has its group settled at once; a look from time to time finds those whose replica did not come to it.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import islice
from typing import Any, Final

from parade.wire.errors import ParadeError, Reason, Violation, invalid
from parade.wire.log import Log
from parade_chassis.clock import Clock
from parade_scheduler.crash_points import reached
from parade_scheduler.definitions.catalogue import Catalogue
from parade_scheduler.language.definition import Definition
from parade_scheduler.leading.remote import Inbox, Outbox
from parade_scheduler.storage.batch import Batch
from parade_scheduler.storage.groups_store import Group, GroupStore, Rule
from parade_scheduler.storage.notes import JOIN_GROUP, LEAVE_GROUP
from parade_scheduler.storage.rows import shard_of

INTERVAL: Final = 2.0
"""Seconds between two looks at the groups in which somebody waits."""
SETTLED_AT_ONCE: Final = 100
"""How many groups one transaction settles at most."""
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
                    groups = list(islice(self._changed, SETTLED_AT_ONCE))
                    for group in groups:
                        del self._changed[group]
                    await self.settle(groups)
                if self._clock.monotonic() >= next_look:
                    next_look = self._clock.monotonic() + INTERVAL
                    await self.look(shards())
            except ParadeError as error:
                self._log.warning("concurrency groups cannot be settled", error=str(error))
            await self._until_changed(next_look - self._clock.monotonic())

    async def look(self, shards: Collection[int]) -> None:
        """Settles the groups of some shards in which somebody waits though there is room.

        Raises:
            ParadeError: UNAVAILABLE, where the store cannot be used.
        """
        waiting = [group for group in await self._store.waiting() if shard_of("/".join(group)) in shards]
        for start in range(0, len(waiting), SETTLED_AT_ONCE):
            rules = await self._rules(waiting[start : start + SETTLED_AT_ONCE])
            open_groups = {
                group: rule for group, rule in rules.items() if rule.cancels_oldest or await self._store.has_room(group, rule.limit)
            }
            await self._settle(open_groups)

    async def settle(self, groups: Sequence[Group]) -> None:
        """Lets runs of groups begin, and cancels those whose place newer ones take.

        Raises:
            ParadeError: UNAVAILABLE, where the store cannot be used.
        """
        await self._settle(await self._rules(groups))

    async def _settle(self, rules: Mapping[Group, Rule]) -> None:
        if rules and await self._store.settle(rules, self._outbox.command):
            reached("after_group_settled")
            self._inbox.look()

    async def _rules(self, groups: Sequence[Group]) -> dict[Group, Rule]:
        """Returns what the workflows say of which the newest runs of groups are."""
        rules: dict[Group, Rule] = {}
        for group, (name, version) in (await self._store.newest(groups)).items():
            try:
                workflow = await self._catalogue.workflow(group.namespace, name, version)
                concurrency = (await self._catalogue.definition(workflow)).concurrency
            except ParadeError as error:
                if error.reason is Reason.UNAVAILABLE:
                    raise
                self._log.error("concurrency group cannot be settled", group=group.name, namespace=group.namespace, error=str(error))
                continue
            if concurrency is not None:
                rules[group] = Rule(concurrency.limit, concurrency.cancel_in_progress)
        return rules

    async def _until_changed(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await self._wake.wait()
        except TimeoutError:
            return
        self._wake.clear()
