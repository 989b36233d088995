"""Databases of the scheduler's first version keep their runs, those that have ended and those that go on."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from importlib import resources
from typing import Any

import orjson
import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, MetaData, text

from parade.wire.errors import Reason, Violation
from parade_chassis.store import Database
from parade_scheduler.document import Document
from parade_scheduler.model import (
    EventType,
    Failure,
    Progress,
    Run,
    RunEvent,
    RunState,
    Step,
    StepState,
    Task,
    TaskState,
)
from parade_scheduler.storage.store import RunFilter, Store
from parade_scheduler.storage.tables import METADATA

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FAILURE = {"reason": "AGENT_ERROR", "message": "no ✓", "violations": [["a.b", "wrong", 3]], "metadata": {"step": "a"}, "retryable": True}
FAILED = Failure(Reason.AGENT_ERROR, "no ✓", (Violation("a.b", "wrong", 3),), {"step": "a"}, retryable=True)

RUN: dict[str, Any] = {
    "id": "run-a",
    "namespace": "default",
    "workflow": "flow",
    "version": 2,
    "state": "SUCCEEDED",
    "inputs": b'{"n": 1, "name": "x", "list": []}',
    "outputs": b"[true]",
    "failure": None,
    "labels": '{"team":"blue"}',
    "principal": "spiffe://x",
    "request_id": "r",
    "trace_parent": "00-a",
    "created": 1,
    "deadline": 2,
    "ended": 3,
    "last_sequence": 4,
}
OPEN = RUN | {
    "id": "run-b",
    "state": "RUNNING",
    "outputs": None,
    "ended": None,
    "request_id": None,
    "failure": orjson.dumps(FAILURE).decode(),
}
STEP: dict[str, Any] = {
    "run": "run-a",
    "id": "each",
    "position": 0,
    "call": "x.b",
    "state": "SUCCEEDED",
    "tasks": 2,
    "tasks_succeeded": 2,
    "tasks_failed": 0,
    "attempts": 3,
    "items": b"[1, 2]",
    "failure": None,
    "started": 5,
    "ended": 6,
}
TASK: dict[str, Any] = {
    "run": "run-a",
    "step": "each",
    "index": 0,
    "state": "SUCCEEDED",
    "attempt": 2,
    "started": 7,
    "failures": 1,
    "outages": 0,
    "outage_started": None,
    "uncertain": True,
    "retry_time": None,
    "instance_id": "i-1",
    "output": b'"\\u0000"',
    "failure": orjson.dumps(FAILURE).decode(),
}
EVENT: dict[str, Any] = {
    "run": "run-a",
    "sequence": 1,
    "time": 8,
    "type": "TASK_RETRYING",
    "step": "each",
    "task": 0,
    "attempt": 1,
    "facts": orjson.dumps({"failure": FAILURE, "retry_time": 9, "progress": [0.5, "half"], "instance_id": "i-1"}).decode(),
}
ROWS: dict[str, list[dict[str, Any]]] = {
    "run": [RUN, OPEN],
    "run_label": [{"run": "run-a", "label": "team=blue"}],
    "step": [STEP, STEP | {"id": "one", "position": 1, "items": None}, STEP | {"run": "run-b", "state": "RUNNING", "ended": None}],
    "task": [
        TASK,
        TASK | {"index": 1, "output": b"2"},
        TASK | {"step": "one", "output": b'{"a": 1}'},
        TASK | {"run": "run-b", "state": "RUNNING", "output": None},
    ],
    "event": [
        EVENT,
        EVENT | {"sequence": 2, "type": "TASK_SUCCEEDED", "task": 1, "facts": "{}"},
        EVENT | {"sequence": 3, "type": "STEP_SUCCEEDED", "step": "one", "attempt": 0, "facts": "{}"},
        EVENT | {"sequence": 4, "type": "RUN_SUCCEEDED", "step": "", "attempt": 0, "facts": "{}"},
    ],
}


def at(micros: int) -> datetime:
    return EPOCH + timedelta(microseconds=micros)


def fill(connection: Connection) -> None:
    """Makes the tables of the first version, and puts runs into them."""
    connection.execute(text("DELETE FROM alembic_version_scheduler"))
    config = Config()
    config.set_main_option("script_location", str(resources.files("parade_scheduler") / "migrations"))
    config.attributes["connection"] = connection
    config.attributes["version_table"] = "alembic_version_scheduler"
    command.upgrade(config, "0001")
    for table, rows in ROWS.items():
        for row in rows:
            names = ", ".join(f'"{name}"' for name in row)
            connection.execute(text(f"INSERT INTO {table} ({names}) VALUES ({', '.join(f':{name}' for name in row)})"), row)  # noqa: S608


@pytest.fixture
async def store(empty_database_url: str) -> AsyncIterator[Store]:
    before = await Database.open(empty_database_url, "parade_scheduler", MetaData())
    async with before.transaction() as connection:
        await connection.run_sync(fill)
    await before.close()
    database = await Database.open(empty_database_url, "parade_scheduler", METADATA)
    store = Store(database)
    yield store
    await store.close()
    await database.close()


async def test_a_run_that_has_ended_is_what_it_was(store: Store) -> None:
    assert await store.run("default", "run-a") == Run(
        "run-a",
        "default",
        "flow",
        2,
        Document(RUN["inputs"]),
        at(1),
        RunState.SUCCEEDED,
        {"team": "blue"},
        "spiffe://x",
        "r",
        "00-a",
        at(2),
        Document(b"[true]"),
        None,
        at(3),
        4,
    )
    each = Step(
        "each", 0, "x.b", StepState.SUCCEEDED, 2, 2, 0, 3, Document(b"[1, 2]"), Document(b'["\\u0000",2]'), start_time=at(5), end_time=at(6)
    )
    one = Step("one", 1, "x.b", StepState.SUCCEEDED, 2, 2, 0, 3, None, Document(b'{"a": 1}'), start_time=at(5), end_time=at(6))
    assert await store.steps("run-a") == [each, one]
    assert await store.events("run-a", 0, 10) == [
        RunEvent(1, at(8), EventType.TASK_RETRYING, "each", 0, 1, 0, "i-1", Progress(0.5, "half"), failure=FAILED, retry_time=at(9)),
        RunEvent(2, at(8), EventType.TASK_SUCCEEDED, "each", 1, 1, output=Document(b"2")),
        RunEvent(3, at(8), EventType.STEP_SUCCEEDED, "one", output=Document(b'{"a": 1}')),
        RunEvent(4, at(8), EventType.RUN_SUCCEEDED, output=Document(b"[true]")),
    ]


async def test_a_run_that_goes_on_can_be_taken_up(store: Store) -> None:
    [stored] = await store.load(await store.unfinished(range(64)))

    assert (stored.run.id, stored.run.state, stored.run.failure, stored.entries, stored.parked) == (
        "run-b",
        RunState.RUNNING,
        FAILED,
        1,
        False,
    )
    assert [(step.id, step.state, step.items, step.output) for step in stored.steps] == [
        ("each", StepState.RUNNING, Document(b"[1, 2]"), None)
    ]
    assert stored.tasks == [Task("each", 0, TaskState.RUNNING, 2, at(7), 1, uncertain=True, instance_id="i-1", failure=FAILED)]
    assert stored.run.request_id == ""


async def test_runs_are_found_by_their_labels_and_inputs(store: Store) -> None:
    async def found(**wanted: Any) -> list[str]:
        return [run.id for run in await store.runs(RunFilter("default", **wanted), "", 10)]

    assert await found(labels=frozenset({("team", "blue")})) == ["run-b", "run-a"]
    assert await found(inputs=frozenset({("n", "1"), ("name", "x")})) == ["run-b", "run-a"]
    assert await found(inputs=frozenset({("n", "2")})) == []
    assert await store.run_of_request("default", "r") == await store.run("default", "run-a")
