"""What is written of agents and instances. Each method is one transaction; none decides anything."""

from collections.abc import Collection, Iterable
from typing import Any

from sqlalchemy import Row, bindparam, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from parade_agent_manager.model import Agent, AgentKey, AgentState, Instance, InstanceState
from parade_agent_manager.records import functions_from_text, functions_to_text, registration_from_text, registration_to_text
from parade_agent_manager.tables import AGENTS, AUDIT, INSTANCES, from_micros, to_micros
from parade_agent_manager.transactions import reading, writing
from parade_chassis.audit import Record
from parade_chassis.audit_recorder import Recorder
from parade_chassis.store import Database


class Store:
    """What survives a restart. A database that cannot be reached is UNAVAILABLE."""

    def __init__(self, database: Database, recorder: Recorder) -> None:
        """Takes the database, and what tells the audit log who changes something."""
        self._database = database
        self._recorder = recorder

    async def agents(self) -> list[Agent]:
        """Returns every agent."""
        async with reading(self._database) as connection:
            rows = await connection.execute(select(AGENTS))
            return [Agent(row.namespace, row.name, AgentState(row.state), functions_from_text(row.functions)) for row in rows]

    async def instances(self) -> list[Instance]:
        """Returns every instance, the GONE ones too."""
        async with reading(self._database) as connection:
            return [_instance(row) for row in await connection.execute(select(INSTANCES))]

    async def add_instance(self, agent: Agent, instance: Instance) -> None:
        """Writes an instance and its agent, over what an attempt cut short may have left of them."""
        async with writing(self._database) as connection:
            await _put_agent(connection, agent)
            await connection.execute(delete(INSTANCES).where(INSTANCES.c.id == instance.id))
            row = {
                "id": instance.id,
                "namespace": instance.namespace,
                "agent": instance.agent,
                "server_name": instance.server_name,
                "registration": registration_to_text(instance.registration),
                "registered": to_micros(instance.registered),
                **_changing(instance),
            }
            await connection.execute(insert(INSTANCES).values(row))

    async def put_agent(self, agent: Agent, *, ordered: bool = False) -> None:
        """Writes an agent; `ordered` where somebody asked for what has changed, which the audit log is told."""
        async with writing(self._database) as connection:
            await _put_agent(connection, agent)
            if ordered:
                record = self._recorder.change(agent.namespace, f"agents/{agent.name}", {"state": agent.state.value})
                await AUDIT.append(connection, [record])

    async def put_states(self, instances: Collection[Instance], *, ordered: bool = False) -> None:
        """Writes what changes about instances that are known: their states and the times of their heartbeats.

        Args:
            instances: The instances as they are now.
            ordered: Whether somebody asked for what has changed, which the audit log is told.
        """
        rows = [{"key": instance.id, **_changing(instance)} for instance in instances]
        if not rows:
            return
        statement = update(INSTANCES).where(INSTANCES.c.id == bindparam("key"))
        async with writing(self._database) as connection:
            await connection.execute(statement, rows)
            if ordered:
                await AUDIT.append(connection, map(self._ordered, instances))

    async def remove(self, instances: Iterable[str], agents: Iterable[AgentKey]) -> None:
        """Removes instances and agents; those that are not there are no fault."""
        async with writing(self._database) as connection:
            for instance in instances:
                await connection.execute(delete(INSTANCES).where(INSTANCES.c.id == instance))
            for namespace, name in agents:
                await connection.execute(delete(AGENTS).where(AGENTS.c.namespace == namespace, AGENTS.c.name == name))

    def _ordered(self, instance: Instance) -> Record:
        resource = f"agents/{instance.agent}/instances/{instance.id}"
        return self._recorder.change(instance.namespace, resource, {"state": instance.state.value, "draining": instance.draining})


async def _put_agent(connection: AsyncConnection, agent: Agent) -> None:
    values = {"state": agent.state.value, "functions": functions_to_text(agent.functions)}
    there = AGENTS.c.namespace == agent.namespace, AGENTS.c.name == agent.name
    if (await connection.execute(update(AGENTS).where(*there).values(values))).rowcount == 0:
        await connection.execute(insert(AGENTS).values(namespace=agent.namespace, name=agent.name, **values))


def _changing(instance: Instance) -> dict[str, Any]:
    return {
        "state": instance.state.value,
        "changed": to_micros(instance.changed),
        "draining": instance.draining,
        "heartbeat": None if instance.heartbeat is None else to_micros(instance.heartbeat),
    }


def _instance(row: Row[Any]) -> Instance:
    return Instance(
        id=row.id,
        namespace=row.namespace,
        agent=row.agent,
        server_name=row.server_name,
        registration=registration_from_text(row.registration),
        state=InstanceState(row.state),
        registered=from_micros(row.registered),
        changed=from_micros(row.changed),
        draining=row.draining,
        heartbeat=None if row.heartbeat is None else from_micros(row.heartbeat),
    )
