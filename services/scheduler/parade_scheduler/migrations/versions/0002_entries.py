"""Runs as logs of entries: what a run consisted of becomes its first entry. Shards, replicas and commands for several of them.

What the old tables hold is rewritten here by hand, in the form of this version: the code that writes it moves on.
"""

from collections.abc import Iterator
from typing import Any
from zlib import crc32

import orjson
import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_CHUNK = 200
_MAX_TERM_BYTES = 200


def upgrade() -> None:
    """Makes the new tables, moves all runs into them, and drops the old ones."""
    connection = op.get_bind()
    for index in ("ix_run_namespace", "ix_run_workflow", "ix_run_state", "ix_run_request"):
        op.drop_index(index, "run")
    if connection.dialect.name == "postgresql":
        op.execute("ALTER TABLE run RENAME CONSTRAINT run_pkey TO run_0001_pkey")
    op.rename_table("run", "run_0001")
    _create_tables()
    for ids in _chunks(connection):
        _move(connection, ids)
    _create_indexes()
    for table in ("run_0001", "run_label", "step", "task", "event"):
        op.drop_table(table)


def _create_tables() -> None:
    op.create_table(
        "run",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("namespace", sa.Text, nullable=False),
        sa.Column("shard", sa.SmallInteger, nullable=False),
        sa.Column("workflow", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("request_id", sa.Text),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("ended", sa.BigInteger),
        sa.Column("last_sequence", sa.BigInteger, nullable=False),
        sa.Column("parked", sa.Boolean, nullable=False),
        sa.Column("wake", sa.BigInteger),
        sa.Column("facts", sa.Text, nullable=False),
        sa.Column("inputs", sa.LargeBinary, nullable=False),
        sa.Column("outputs", sa.LargeBinary),
    )
    op.create_table(
        "entry",
        sa.Column("run", sa.Text, primary_key=True),
        sa.Column("last_sequence", sa.BigInteger, primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("facts", sa.Text, nullable=False),
        sa.Column("documents", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "run_term",
        sa.Column("namespace", sa.Text, primary_key=True),
        sa.Column("term", sa.Text, primary_key=True),
        sa.Column("run", sa.Text, primary_key=True),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "shard",
        sa.Column("id", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "replica",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("address", sa.Text, nullable=False),
        sa.Column("expires", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "command",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("shard", sa.SmallInteger, nullable=False),
        sa.Column("run", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
    )


def _create_indexes() -> None:
    def partial(condition: str) -> dict[str, Any]:
        return {"sqlite_where": sa.text(condition), "postgresql_where": sa.text(condition)}

    op.create_index("ix_run_namespace", "run", ["namespace", "id"])
    op.create_index("ix_run_workflow", "run", ["namespace", "workflow", "id"])
    op.create_index("ix_run_state", "run", ["namespace", "state", "id"])
    op.create_index("ix_run_request", "run", ["namespace", "request_id"], unique=True, **partial("request_id IS NOT NULL"))
    op.create_index("ix_run_unfinished", "run", ["shard", "id", "namespace"], **partial("ended IS NULL AND NOT parked"))
    op.create_index("ix_run_wake", "run", ["wake", "shard", "id"], **partial("parked"))
    op.create_index("ix_run_ended", "run", ["ended"], **partial("ended IS NOT NULL"))
    op.create_index("ix_command_shard", "command", ["shard", "id"])


def _chunks(connection: sa.Connection) -> Iterator[list[str]]:
    after = ""
    while True:
        query = sa.text("SELECT id FROM run_0001 WHERE id > :after ORDER BY id LIMIT :limit")
        ids = list(connection.execute(query, {"after": after, "limit": _CHUNK}).scalars())
        if not ids:
            return
        yield ids
        after = ids[-1]


def _move(connection: sa.Connection, ids: list[str]) -> None:
    def rows(table: str, order: str) -> dict[str, list[Any]]:
        name = "id" if table == "run_0001" else "run"
        query = sa.text(f"SELECT * FROM {table} WHERE {name} IN :ids ORDER BY {order}").bindparams(sa.bindparam("ids", expanding=True))  # noqa: S608
        found: dict[str, list[Any]] = {id: [] for id in ids}
        for row in connection.execute(query, {"ids": ids}).mappings():
            found[row[name]].append(row)
        return found

    runs, steps, tasks, events = rows("run_0001", "id"), rows("step", "position"), rows("task", 'step, "index"'), rows("event", "sequence")
    new_runs, entries, terms = [], [], []
    for id in ids:
        [run] = runs[id]
        facts, documents = _entry(steps[id], tasks[id], events[id])
        new_runs.append(_run(run))
        entries.append({"run": id, "last_sequence": run["last_sequence"], "number": 1, "facts": _json(facts), "documents": documents})
        terms += [{"namespace": run["namespace"], "term": term, "run": id} for term in _terms(run)]
    _insert(connection, "run", new_runs)
    _insert(connection, "entry", entries)
    _insert(connection, "run_term", terms)


def _insert(connection: sa.Connection, table: str, rows: list[dict[str, Any]]) -> None:
    if rows:
        query = f"INSERT INTO {table} ({', '.join(rows[0])}) VALUES ({', '.join(f':{name}' for name in rows[0])})"  # noqa: S608
        connection.execute(sa.text(query), rows)


def _run(run: Any) -> dict[str, Any]:
    facts = {
        "labels": orjson.loads(run["labels"]),
        "principal": run["principal"],
        "trace_parent": run["trace_parent"],
        "deadline": run["deadline"],
        "failure": _failure(run["failure"]),
    }
    kept = ("id", "namespace", "workflow", "version", "state", "request_id", "created", "ended", "last_sequence", "inputs", "outputs")
    others = {"shard": crc32(run["id"].encode()) % 64, "parked": False, "wake": None, "facts": _json(_present(facts))}
    return {name: run[name] for name in kept} | others


def _entry(steps: list[Any], tasks: list[Any], events: list[Any]) -> tuple[dict[str, Any], bytes]:
    """Returns the facts and the documents of a run's first entry."""
    documents: list[bytes] = []

    def place(data: bytes | None) -> int | None:
        if data is None:
            return None
        documents.append(data)
        return len(documents) - 1

    of_tasks = {(task["step"], task["index"]): place(task["output"]) for task in tasks}
    of_steps: dict[str, int | None] = {}
    for step in steps:
        if step["state"] == "SUCCEEDED":
            places = [output for (name, _), output in of_tasks.items() if name == step["id"] and output is not None]
            listed = step["items"] is not None
            of_steps[step["id"]] = place(b"[" + b",".join(documents[at] for at in places) + b"]") if listed else places[0]
    facts = {
        "events": [_event(event, of_tasks, of_steps) for event in events],
        "steps": [_step(step, place(step["items"]), of_steps.get(step["id"])) for step in steps],
        "tasks": [_task(task, of_tasks[task["step"], task["index"]]) for task in tasks],
    }
    return {**{name: rows for name, rows in facts.items() if rows}, "sizes": [len(data) for data in documents]}, b"".join(documents)


def _step(step: Any, items: int | None, output: int | None) -> dict[str, Any]:
    same = ("id", "position", "call", "state", "tasks", "tasks_succeeded", "tasks_failed", "attempts")
    others = {"start_time": step["started"], "end_time": step["ended"], "failure": _failure(step["failure"])}
    return _present({name: step[name] for name in same} | others | {"items": items, "output": output})


def _task(task: Any, output: int | None) -> dict[str, Any]:
    same = ("step", "index", "state", "attempt", "started", "failures", "outages", "outage_started", "retry_time", "instance_id")
    others = {"uncertain": bool(task["uncertain"]), "failure": _failure(task["failure"]), "output": output}
    return _present({name: task[name] for name in same} | others)


def _event(event: Any, of_tasks: dict[tuple[str, int], int | None], of_steps: dict[str, int | None]) -> dict[str, Any]:
    same = ("sequence", "time", "type", "step", "task", "attempt")
    facts = orjson.loads(event["facts"])
    if "failure" in facts:
        facts["failure"] = _failure(orjson.dumps(facts["failure"]).decode())
    if "progress" in facts:
        facts["progress"] = dict(zip(("fraction", "message"), facts["progress"], strict=True))
    output = None
    if event["type"] == "TASK_SUCCEEDED":
        output = of_tasks.get((event["step"], event["task"]))
    elif event["type"] == "STEP_SUCCEEDED":
        output = of_steps.get(event["step"])
    return _present({name: event[name] for name in same} | facts | {"output": output})


def _failure(text: str | None) -> dict[str, Any] | None:
    if text is None:
        return None
    failure = orjson.loads(text)
    violations = [dict(zip(("field", "description", "line"), violation, strict=True)) for violation in failure["violations"]]
    return {**failure, "violations": violations}


def _terms(run: Any) -> list[str]:
    terms = [f"label:{key}={value}" for key, value in orjson.loads(run["labels"]).items()]
    inputs = orjson.loads(run["inputs"])
    if isinstance(inputs, dict):
        simple = {name: value for name, value in inputs.items() if isinstance(value, str | int | float)}
        found_by = [f"input:{name}={value if isinstance(value, str) else _json(value)}" for name, value in simple.items()]
        terms += [term for term in found_by if "\x00" not in term and len(term.encode()) <= _MAX_TERM_BYTES]
    return list(dict.fromkeys(terms))  # `a=b` of `c` and `a` of `b=c` are one term


def _present(facts: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in facts.items() if value is not None}


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()
