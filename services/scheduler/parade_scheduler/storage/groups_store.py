"""The table of the runs of concurrency groups.

A run joins and leaves in the transaction that writes it. What its group tells it goes as a command that is left in the transaction that
notes it here, so that the replica that leads the run lets it happen once.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from sqlalchemy import ColumnElement, and_, func, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from parade_scheduler.decider import Admitted, CancelRequested, Occurrence
from parade_scheduler.storage.commands import Command, leave_commands
from parade_scheduler.storage.connected import Connected
from parade_scheduler.storage.waking_tables import ADMITTED, GROUP_MEMBERS, WAITING

CANCELLED_FOR_NEWER: Final = "a newer run of its concurrency group takes its place"

_LOCK: Final = text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))")


class Group(NamedTuple):
    """A concurrency group."""

    namespace: str
    name: str


class Rule(NamedTuple):
    """What holds in a concurrency group."""

    limit: int
    """How many of its runs may go on at once."""
    cancels_oldest: bool
    """Whether the oldest runs beyond that many are cancelled, so that none waits longer than these take to end."""


class GroupStore(Connected):
    """The groups."""

    async def waiting(self) -> list[Group]:
        """Returns the groups in which somebody waits."""
        columns = GROUP_MEMBERS.c.namespace, GROUP_MEMBERS.c.name
        async with self._reading() as connection:
            return [Group(*row) for row in await connection.execute(select(*columns).where(WAITING).distinct())]

    async def count_waiting(self, namespace: str) -> int:
        """Returns how many runs of a namespace wait for their groups."""
        query = select(func.count()).select_from(GROUP_MEMBERS).where(GROUP_MEMBERS.c.namespace == namespace, WAITING)
        async with self._reading() as connection:
            return int((await connection.execute(query)).scalar_one())

    async def newest(self, groups: Sequence[Group]) -> dict[Group, tuple[str, int]]:
        """Returns of which workflow, and in which version, the newest run of each group is; groups without runs are left out."""
        found: dict[Group, tuple[str, int]] = {}
        async with self._reading() as connection:
            for group in groups:
                query = select(GROUP_MEMBERS.c.workflow, GROUP_MEMBERS.c.version).where(_of(group))
                row = (await connection.execute(query.order_by(GROUP_MEMBERS.c.run.desc()).limit(1))).one_or_none()
                if row is not None:
                    found[group] = (row.workflow, row.version)
        return found

    async def has_room(self, group: Group, limit: int) -> bool:
        """Tells whether fewer than `limit` runs of a group were let begin and have not ended."""
        async with self._reading() as connection:
            return await _admitted(connection, group) < limit

    async def settle(self, rules: Mapping[Group, Rule], command: Callable[[str, Occurrence], Command]) -> list[Command]:
        """Lets the next runs of groups begin while there is room, the highest priority first, then the oldest.

        Args:
            rules: What holds in each of the groups.
            command: Makes what tells a run something.

        Returns:
            What was left for the runs.
        """
        told: list[Command] = []
        async with self._writing() as connection:
            # In one order, so that two who settle the same groups do not wait for each other.
            for group in sorted(rules):
                if not self._database.is_sqlite:
                    await connection.execute(_LOCK, {"key": "/".join(group)})
                cancelled, admitted = await _settle(connection, group, rules[group])
                told += [command(run, CancelRequested(CANCELLED_FOR_NEWER)) for run in cancelled]
                told += [command(run, Admitted()) for run in admitted]
            await leave_commands(connection, told)
        return told


async def _settle(connection: AsyncConnection, group: Group, rule: Rule) -> tuple[list[str], list[str]]:
    """Notes which runs of a group are cancelled, and which may begin."""
    cancelled = await _surplus(connection, group, rule.limit) if rule.cancels_oldest else []
    await _mark(connection, group, cancelled, "cancelled")
    room = rule.limit - await _admitted(connection, group)
    admitted = await _next(connection, group, room) if room > 0 else []
    await _mark(connection, group, admitted, "admitted")
    return cancelled, admitted


async def _admitted(connection: AsyncConnection, group: Group) -> int:
    query = select(func.count()).select_from(GROUP_MEMBERS).where(_of(group), ADMITTED)
    return int((await connection.execute(query)).scalar_one())


async def _next(connection: AsyncConnection, group: Group, room: int) -> list[str]:
    query = select(GROUP_MEMBERS.c.run).where(_of(group), WAITING).order_by(GROUP_MEMBERS.c.rank, GROUP_MEMBERS.c.run).limit(room)
    return list((await connection.execute(query)).scalars())


async def _surplus(connection: AsyncConnection, group: Group, limit: int) -> list[str]:
    """Returns the oldest runs of a group beyond the newest `limit`, without those that were cancelled before."""
    newest_first = select(GROUP_MEMBERS.c.run).where(_of(group), ~GROUP_MEMBERS.c.cancelled).order_by(GROUP_MEMBERS.c.run.desc())
    return sorted((await connection.execute(newest_first.offset(limit))).scalars())


async def _mark(connection: AsyncConnection, group: Group, runs: list[str], column: str) -> None:
    if runs:
        await connection.execute(update(GROUP_MEMBERS).where(_of(group), GROUP_MEMBERS.c.run.in_(runs)).values({column: True}))


def _of(group: Group) -> ColumnElement[bool]:
    return and_(GROUP_MEMBERS.c.namespace == group.namespace, GROUP_MEMBERS.c.name == group.name)
