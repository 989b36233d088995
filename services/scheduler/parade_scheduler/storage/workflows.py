"""The stored definitions of workflows, each in all its versions."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

from sqlalchemy import and_, func, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from parade.wire.audit import Kind
from parade.wire.errors import ParadeError, Reason
from parade_chassis.audit import Record
from parade_scheduler.model import Workflow
from parade_scheduler.storage.audit_records import SERVICE
from parade_scheduler.storage.audit_table import AUDIT
from parade_scheduler.storage.connected import Connected
from parade_scheduler.storage.rows import workflow_of, workflow_row
from parade_scheduler.storage.tables import WORKFLOWS

Also = Callable[[AsyncConnection, Workflow], Awaitable[None]]
"""What is written besides, within the transaction that stores a new version of a workflow."""

_ATTEMPTS: Final = 10
"""How often a version is tried that others store meanwhile."""


class Workflows(Connected):
    """The table of workflows."""

    async def put_workflow(self, workflow: Workflow, also: Also | None = None, *, principal: str = "") -> Workflow:
        """Stores a definition as the next version of its name, whatever version it says, or returns the newest where that is the same.

        Args:
            workflow: The definition.
            also: What else is written in the same transaction, where it is a new version.
            principal: Who puts it.
        """
        for _ in range(_ATTEMPTS):
            # Two replicas may store the next version at once; who comes second looks again.
            with suppress(IntegrityError):
                return await self._put(workflow, also, principal)
        raise ParadeError(Reason.UNAVAILABLE, f"others keep storing versions of `{workflow.name}`; try again")

    async def _put(self, workflow: Workflow, also: Also | None, principal: str) -> Workflow:
        async with self._writing() as connection:
            newest = _newest(workflow.namespace, workflow.name).with_for_update()
            row = (await connection.execute(newest)).one_or_none()
            if row is not None and row.hash == workflow.hash:
                return workflow_of(row)
            stored = replace(workflow, version=1 if row is None else row.version + 1)
            await connection.execute(insert(WORKFLOWS).values(workflow_row(stored)))
            if also is not None:
                await also(connection, stored)
            await AUDIT.append(connection, [_record(stored, principal)])
            return stored

    async def workflow(self, namespace: str, name: str, version: int = 0) -> Workflow | None:
        """Returns a version of a workflow, the newest where 0."""
        query = _newest(namespace, name)
        async with self._reading() as connection:
            row = (await connection.execute(query.where(WORKFLOWS.c.version == version) if version else query)).one_or_none()
            return None if row is None else workflow_of(row)

    async def workflows(self, namespace: str, after: str, limit: int) -> list[Workflow]:
        """Returns the newest versions by name, from the one after `after` on, without their sources."""
        newest = (
            select(WORKFLOWS.c.name, func.max(WORKFLOWS.c.version).label("version"))
            .where(WORKFLOWS.c.namespace == namespace, WORKFLOWS.c.name > after)
            .group_by(WORKFLOWS.c.name)
            .order_by(WORKFLOWS.c.name)
            .limit(limit)
            .subquery()
        )
        matches = and_(WORKFLOWS.c.namespace == namespace, WORKFLOWS.c.name == newest.c.name, WORKFLOWS.c.version == newest.c.version)
        query = select(WORKFLOWS).join(newest, matches).order_by(WORKFLOWS.c.name)
        async with self._reading() as connection:
            return [replace(workflow_of(row), source="") for row in await connection.execute(query)]


def _record(stored: Workflow, principal: str) -> Record:
    resource = f"workflows/{stored.name}@{stored.version}"
    facts = {"definition_hash": stored.hash}
    return Record(Kind.CHANGE, f"{SERVICE}PutWorkflow", principal, stored.namespace, resource, stored.create_time, facts)


def _newest(namespace: str, name: str) -> Any:
    query = select(WORKFLOWS).where(WORKFLOWS.c.namespace == namespace, WORKFLOWS.c.name == name)
    return query.order_by(WORKFLOWS.c.version.desc()).limit(1)
