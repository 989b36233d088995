"""What is written of API keys and grants. Each method is one transaction; none decides anything."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Row, delete, insert, select, update

from parade.wire.roles import Role
from parade_agent_manager.rights import ApiKey, Grant
from parade_agent_manager.tables import API_KEYS, AUDIT, ROLE_GRANTS, from_micros, to_micros
from parade_agent_manager.transactions import reading, writing
from parade_chassis.audit_recorder import Recorder
from parade_chassis.store import Database


class RightsStore:
    """What survives a restart. A database that cannot be reached is UNAVAILABLE."""

    def __init__(self, database: Database, recorder: Recorder) -> None:
        """Takes the database, and what tells the audit log who changes something."""
        self._database = database
        self._recorder = recorder

    async def keys(self) -> list[ApiKey]:
        """Returns every key, those that are over too."""
        async with reading(self._database) as connection:
            return [_key(row) for row in await connection.execute(select(API_KEYS))]

    async def grants(self) -> list[Grant]:
        """Returns every grant."""
        async with reading(self._database) as connection:
            return [_grant(row) for row in await connection.execute(select(ROLE_GRANTS))]

    async def put_key(self, key: ApiKey) -> None:
        """Writes a key as it is now."""
        row = {
            "digest": key.digest,
            "name": key.name,
            "namespace": key.namespace,
            "role": key.role.name,
            "created_by": key.created_by,
            "created": to_micros(key.created),
            "expires": to_micros(key.expires),
            "revoked": None if key.revoked is None else to_micros(key.revoked),
        }
        async with writing(self._database) as connection:
            if (await connection.execute(update(API_KEYS).where(API_KEYS.c.id == key.id).values(row))).rowcount == 0:
                await connection.execute(insert(API_KEYS).values(id=key.id, **row))
            facts = {"name": key.name, "role": key.role.label, "expires": key.expires.isoformat(), "revoked": key.revoked is not None}
            await AUDIT.append(connection, [self._recorder.change(key.namespace, f"keys/{key.id}", facts)])

    async def remove_keys(self, ids: Iterable[str]) -> None:
        """Removes keys; those that are not there are no fault."""
        async with writing(self._database) as connection:
            for id in ids:
                await connection.execute(delete(API_KEYS).where(API_KEYS.c.id == id))

    async def put_grant(self, grant: Grant) -> None:
        """Writes a grant, in place of the one that the subject had there."""
        row = {"role": grant.role.name, "granted_by": grant.granted_by, "granted": to_micros(grant.granted)}
        there = ROLE_GRANTS.c.subject == grant.subject, ROLE_GRANTS.c.namespace == grant.namespace
        async with writing(self._database) as connection:
            if (await connection.execute(update(ROLE_GRANTS).where(*there).values(row))).rowcount == 0:
                await connection.execute(insert(ROLE_GRANTS).values(subject=grant.subject, namespace=grant.namespace, **row))
            await AUDIT.append(connection, [self._recorder.change(grant.namespace, f"roles/{grant.subject}", {"role": grant.role.label})])

    async def remove_grant(self, grant: Grant) -> None:
        """Removes a grant; one that is not there is no fault."""
        there = ROLE_GRANTS.c.subject == grant.subject, ROLE_GRANTS.c.namespace == grant.namespace
        async with writing(self._database) as connection:
            if (await connection.execute(delete(ROLE_GRANTS).where(*there))).rowcount:
                await AUDIT.append(connection, [self._recorder.change(grant.namespace, f"roles/{grant.subject}", {"role": "none"})])


def _key(row: Row[Any]) -> ApiKey:
    return ApiKey(
        id=row.id,
        digest=row.digest,
        name=row.name,
        namespace=row.namespace,
        role=Role[row.role],
        created_by=row.created_by,
        created=from_micros(row.created),
        expires=from_micros(row.expires),
        revoked=None if row.revoked is None else from_micros(row.revoked),
    )


def _grant(row: Row[Any]) -> Grant:
    return Grant(row.subject, row.namespace, Role[row.role], row.granted_by, from_micros(row.granted))
