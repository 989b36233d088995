"""What the scheduler's audit log is told in the transactions that store runs, workflows and schedules, on every database."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import orjson
import pytest

from parade.wire.audit import Entry
from parade.wire.audit import Kind as AuditKind
from parade_chassis.audit import Record
from parade_chassis.audit_log import AuditLog
from parade_chassis.store import Database
from parade_scheduler.document import Document
from parade_scheduler.model import EventType, Kind, Parent, RunEvent, Task, TaskState, Workflow
from parade_scheduler.schedule import Schedule
from parade_scheduler.storage.audit_table import AUDIT
from parade_scheduler.storage.schedules_store import ScheduleStore
from parade_scheduler.storage.store import Change, Store, TakenError
from parade_scheduler.storage.tables import METADATA
from tests.contract.scheduler_store import NOW, RUN, new, numbered

ANA = "spiffe://parade.local/ns/default/client/ana"
BOB = "spiffe://parade.local/ns/default/client/bob"


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


async def entries(database: Database) -> list[Entry]:
    """Returns the entries, oldest first, of a log that is whole."""
    log = AuditLog(database, AUDIT)
    assert (await log.verify())[1] == []
    return (await log.newest("default", {}, {}, 1000))[::-1]


def told(entry: Entry) -> tuple[str, str, str, Any]:
    return entry.action.rpartition("/")[2], entry.subject, entry.resource, orjson.loads(entry.facts)


async def test_runs_that_start_alike_and_are_stored_together_are_one_entry(store: Store, database: Database) -> None:
    by_ana = [new(numbered(number, principal=ANA)) for number in range(3)]
    by_bob = new(numbered(3, principal=BOB, origin="run-before"))
    child = new(numbered(4, principal=ANA, parent=Parent("run-000-00", "a", 0, 1)))

    await store.write([*by_ana, by_bob, child], None)

    assert [told(entry) for entry in await entries(database)] == [
        ("StartRun", ANA, "workflows/report@1", {"runs": ["run-000-00", "run-001-01", "run-002-02"]}),
        ("StartRun", BOB, "workflows/report@1", {"runs": ["run-003-03"], "origin": "run-before"}),
    ]


async def test_what_somebody_did_to_a_run_is_recorded_and_what_followed_is_not(store: Store, database: Database) -> None:
    await store.write([new(replace(RUN, principal=ANA))], None)
    times = [NOW + timedelta(seconds=number) for number in range(8)]
    approval = Task("ask", 0, TaskState.SUCCEEDED, 1, NOW, kind=Kind.APPROVAL, by=BOB)
    call = Task("call", 0, TaskState.SUCCEEDED, 1, NOW)
    signal = Task("wait", 0, TaskState.SUCCEEDED, 1, NOW, kind=Kind.SIGNAL, by=BOB)
    events = [
        RunEvent(1, times[0], EventType.RUN_STARTED),
        RunEvent(2, times[1], EventType.RUN_PAUSED, by=ANA, message="lunch"),
        RunEvent(3, times[2], EventType.RUN_RESUMED, by=BOB),
        RunEvent(4, times[3], EventType.SIGNAL_RECEIVED, by=BOB, message="go", output=Document(b'"secret"')),
        RunEvent(5, times[4], EventType.TASK_SUCCEEDED, "wait", by=BOB),
        RunEvent(6, times[5], EventType.TASK_SUCCEEDED, "ask", by=BOB, message="fine"),
        RunEvent(7, times[6], EventType.TASK_SUCCEEDED, "call"),
        RunEvent(8, times[7], EventType.RUN_CANCELLING, by=ANA, message="enough"),
    ]
    tasks = {(task.step, task.index): task for task in (approval, call, signal)}

    await store.write([Change(replace(RUN, last_sequence=8), 2, tasks=tasks, events=events)], None)

    run = f"runs/{RUN.id}"
    resolved = {"step": "ask", "task": 0, "approved": True, "note": "fine"}
    found = await entries(database)
    assert [told(entry) for entry in found][1:] == [
        ("PauseRun", ANA, run, {"reason": "lunch"}),
        ("ResumeRun", BOB, run, {}),
        ("SignalRun", BOB, run, {"signal": "go"}),
        ("ResolveApproval", BOB, run, resolved),
        ("CancelRun", ANA, run, {"reason": "enough"}),
    ]
    assert [entry.kind for entry in found] == ["CHANGE", "CHANGE", "CHANGE", "CHANGE", "APPROVAL", "CHANGE"]


async def test_a_batch_that_is_not_stored_is_not_recorded(store: Store, database: Database) -> None:
    await store.write([new(numbered(1))], None)

    with pytest.raises(TakenError):
        await store.write([new(numbered(1)), new(numbered(2))], None)

    assert [told(entry)[3] for entry in await entries(database)] == [{"runs": ["run-001-01"]}]


async def test_versions_of_workflows_and_schedules_are_recorded_with_who_put_them(store: Store, database: Database) -> None:
    workflow = Workflow("default", "report", 0, "a" * 64, "", "name: report", NOW)
    schedule = Schedule("nightly", "report", "0 0 * * *", inputs=Document(b"{}"), namespace="default", principal=ANA)
    record = Record(AuditKind.CHANGE, "/parade.v1.SchedulerService/PutSchedule", BOB, "default", "schedules/nightly", NOW)

    await store.put_workflow(workflow, principal=ANA)
    await store.put_workflow(workflow, principal=BOB)
    schedules = ScheduleStore(database)
    await schedules.put("default", "nightly", lambda _: schedule, 10, [record])
    await schedules.delete("default", "nightly", [replace(record, action="/parade.v1.SchedulerService/DeleteSchedule")])
    await schedules.delete("default", "nightly", [replace(record, action="/parade.v1.SchedulerService/DeleteSchedule")])

    assert [told(entry) for entry in await entries(database)] == [
        ("PutWorkflow", ANA, "workflows/report@1", {"definition_hash": "a" * 64}),
        ("PutSchedule", BOB, "schedules/nightly", {}),
        ("DeleteSchedule", BOB, "schedules/nightly", {}),
    ]
