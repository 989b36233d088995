"""What the scheduler's store finds, on every database: workflows and runs."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from parade_chassis.store import Database
from parade_scheduler.document import Document
from parade_scheduler.model import RunState, Workflow
from parade_scheduler.storage.store import RunFilter, Store
from parade_scheduler.storage.tables import METADATA
from tests.contract.scheduler_store import NOW, RUN, new

WORKFLOW = Workflow("default", "report", 0, "a" * 64, "described", "name: report\n# größe ✓\n", NOW)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = await Database.open(database_url, "parade_scheduler", METADATA)
    yield database
    await database.close()


@pytest.fixture
async def store(database: Database) -> AsyncIterator[Store]:
    store = Store(database)
    yield store
    await store.close()


async def test_a_workflow_gets_a_version_for_every_change(store: Store) -> None:
    first = await store.put_workflow(WORKFLOW)
    same = await store.put_workflow(replace(WORKFLOW, source="name: report  # other comment", create_time=NOW + timedelta(days=1)))
    second = await store.put_workflow(replace(WORKFLOW, hash="b" * 64))
    back = await store.put_workflow(WORKFLOW)
    elsewhere = await store.put_workflow(replace(WORKFLOW, namespace="other"))

    assert first == replace(WORKFLOW, version=1)
    assert same == first
    assert (second.version, back.version, elsewhere.version) == (2, 3, 1)
    assert await store.workflow("default", "report") == back
    assert await store.workflow("default", "report", 1) == first
    assert await store.workflow("default", "report", 9) is None
    assert await store.workflow("nowhere", "report") is None


async def test_replicas_that_store_versions_at_once_store_each(database_url: str, store: Store) -> None:
    other_database = await Database.open(database_url, "parade_scheduler", METADATA)
    other = Store(other_database)

    stored = await asyncio.gather(*((store, other)[number % 2].put_workflow(replace(WORKFLOW, hash=str(number))) for number in range(6)))

    assert sorted([workflow.version for workflow in stored]) == [1, 2, 3, 4, 5, 6]
    await other.close()
    await other_database.close()


async def test_workflows_are_listed_by_name_in_their_newest_version(store: Store) -> None:
    for name in ("b", "a", "c", "a"):
        await store.put_workflow(replace(WORKFLOW, name=name, hash=f"{name}{await count(store)}"))

    listed = await store.workflows("default", "", 10)

    assert [(workflow.name, workflow.version, workflow.source) for workflow in listed] == [("a", 2, ""), ("b", 1, ""), ("c", 1, "")]
    assert [workflow.name for workflow in await store.workflows("default", "a", 1)] == ["b"]
    assert await store.workflows("other", "", 10) == []


async def count(store: Store) -> int:
    return sum([workflow.version for workflow in await store.workflows("default", "", 100)])


async def test_runs_are_found_by_what_they_are(store: Store) -> None:
    made = [
        replace(
            RUN,
            id=f"run-{number}",
            workflow=("report", "other")[number % 2],
            state=(RunState.RUNNING, RunState.FAILED, RunState.SUCCEEDED)[number % 3],
            labels={"team": ("red", "blue")[number % 2], "number": str(number), "note": "é" * 255},
            inputs=Document.of(
                {
                    "number": number,
                    "name": "é" if number else "",
                    "even": number % 2 == 0,
                    "long": "x" * 200,
                    "list": [1],
                    "a": "b=c",
                    "a=b": "c",
                }
            ),
            create_time=NOW + timedelta(seconds=number),
            request_id=f"request-{number}",
        )
        for number in range(6)
    ]
    await store.write([new(run) for run in made], None)
    await store.write([new(replace(made[0], id="run-x", namespace="other"))], None)

    async def found(before: str = "", limit: int = 100, **wanted: Any) -> list[int]:
        return [int(run.id[4:]) for run in await store.runs(RunFilter("default", **wanted), before, limit)]

    assert await found() == [5, 4, 3, 2, 1, 0]
    assert await found("run-3", 2) == [2, 1]
    assert await found(workflow="other") == [5, 3, 1]
    assert await found(states=frozenset({RunState.RUNNING, RunState.FAILED})) == [4, 3, 1, 0]
    assert await found(labels=frozenset({("team", "red")})) == [4, 2, 0]
    assert await found(labels=frozenset({("team", "red"), ("number", "2")})) == [2]
    assert await found(labels=frozenset({("team", "re_")})) == []
    assert await found(labels=frozenset({("note", "é" * 255), ("number", "2")})) == [2]
    assert await found(inputs=frozenset({("number", "3")})) == [3]
    assert await found(inputs=frozenset({("name", "é"), ("even", "true")}), labels=frozenset({("team", "red")})) == [4, 2]
    assert await found(inputs=frozenset({("name", "")})) == [0]
    assert await found(inputs=frozenset({("long", "x" * 200)})) == []
    assert await store.run_of_request("default", "request-3") == made[3]
    assert await store.run_of_request("other", "request-4") is None


async def test_runs_are_found_by_when_they_were_started(store: Store) -> None:
    made = [replace(RUN, id=f"run-{number}", create_time=NOW + timedelta(seconds=number)) for number in range(4)]
    await store.write([new(run) for run in made], None)

    found = await store.runs(RunFilter("default", since=NOW + timedelta(seconds=1), before=NOW + timedelta(seconds=3)), "", 10)

    assert [run.id for run in found] == ["run-2", "run-1"]
