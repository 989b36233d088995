"""What is written of policies. Each method is one transaction; none decides anything."""

import hashlib
from typing import Any, Final

from sqlalchemy import Row, and_, delete, func, insert, select

from parade_agent_manager.policy import Policy
from parade_agent_manager.tables import AUDIT, POLICIES, from_micros, to_micros
from parade_agent_manager.transactions import reading, writing
from parade_chassis.audit_recorder import Recorder
from parade_chassis.store import Database

KEPT: Final = 50
"""Versions of a policy that are kept."""


class PolicyStore:
    """What survives a restart. A database that cannot be reached is UNAVAILABLE."""

    def __init__(self, database: Database, recorder: Recorder) -> None:
        """Takes the database, and what tells the audit log who changes something."""
        self._database = database
        self._recorder = recorder

    async def newest(self) -> list[Policy]:
        """Returns the newest version of every policy, those too that say it was deleted."""
        columns = POLICIES.c
        last = select(columns.namespace, columns.name, func.max(columns.version).label("version"))
        last_of = last.group_by(columns.namespace, columns.name).subquery()
        same = and_(columns.namespace == last_of.c.namespace, columns.name == last_of.c.name, columns.version == last_of.c.version)
        async with reading(self._database) as connection:
            return [_policy(row) for row in await connection.execute(select(POLICIES).join(last_of, same))]

    async def version(self, namespace: str, name: str, version: int) -> Policy | None:
        """Returns a version of a policy, where it is kept."""
        there = POLICIES.c.namespace == namespace, POLICIES.c.name == name, POLICIES.c.version == version
        async with reading(self._database) as connection:
            row = (await connection.execute(select(POLICIES).where(*there))).one_or_none()
        return None if row is None else _policy(row)

    async def add(self, policy: Policy) -> None:
        """Writes a new version, and drops those that are too old to be kept."""
        row = {
            "namespace": policy.namespace,
            "name": policy.name,
            "version": policy.version,
            "text": policy.text,
            "rule_count": policy.rule_count,
            "author": policy.author,
            "created": to_micros(policy.created),
        }
        same = POLICIES.c.namespace == policy.namespace, POLICIES.c.name == policy.name
        facts: dict[str, Any] = {"version": policy.version, "deleted": True}
        if policy.holds:
            facts = {"version": policy.version, "rules": policy.rule_count, "sha256": hashlib.sha256(policy.text.encode()).hexdigest()}
        async with writing(self._database) as connection:
            await connection.execute(insert(POLICIES).values(row))
            await connection.execute(delete(POLICIES).where(*same, POLICIES.c.version <= policy.version - KEPT))
            await AUDIT.append(connection, [self._recorder.change(policy.namespace, f"policies/{policy.name}", facts)])

    async def remove(self, policy: Policy) -> None:
        """Removes all versions of a policy that was deleted long ago."""
        async with writing(self._database) as connection:
            await connection.execute(delete(POLICIES).where(POLICIES.c.namespace == policy.namespace, POLICIES.c.name == policy.name))


def _policy(row: Row[Any]) -> Policy:
    return Policy(row.namespace, row.name, row.version, row.text, row.rule_count, row.author, from_micros(row.created))
