"""The scheduler's tables. Times are whole microseconds since 1970, which both databases keep exactly; JSON values are kept as their bytes.

A step's output is not kept: it is that of its task, or the list of those of its tasks. An event keeps no output either.
"""

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, MetaData, Table, Text

METADATA = MetaData()

WORKFLOWS = Table(
    "workflow",
    METADATA,
    Column("namespace", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("hash", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("created", BigInteger, nullable=False),
)

RUNS = Table(
    "run",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("namespace", Text, nullable=False),
    Column("workflow", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("inputs", LargeBinary, nullable=False),
    Column("outputs", LargeBinary),
    Column("failure", Text),
    Column("labels", Text, nullable=False),
    Column("principal", Text, nullable=False),
    Column("request_id", Text),
    Column("trace_parent", Text, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("deadline", BigInteger),
    Column("ended", BigInteger),
    Column("last_sequence", BigInteger, nullable=False),
    Index("ix_run_namespace", "namespace", "id"),
    Index("ix_run_workflow", "namespace", "workflow", "id"),
    Index("ix_run_state", "state"),
    Index("ix_run_request", "namespace", "request_id", unique=True),
)

LABELS = Table(
    "run_label",
    METADATA,
    Column("run", Text, primary_key=True),
    Column("label", Text, primary_key=True),
    Index("ix_run_label_label", "label", "run"),
)
"""The labels of runs as `key=value`, to find runs by."""

STEPS = Table(
    "step",
    METADATA,
    Column("run", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("position", Integer, nullable=False),
    Column("call", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("tasks", Integer, nullable=False),
    Column("tasks_succeeded", Integer, nullable=False),
    Column("tasks_failed", Integer, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("items", LargeBinary),
    Column("failure", Text),
    Column("started", BigInteger),
    Column("ended", BigInteger),
)

TASKS = Table(
    "task",
    METADATA,
    Column("run", Text, primary_key=True),
    Column("step", Text, primary_key=True),
    Column("index", Integer, primary_key=True),
    Column("state", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("started", BigInteger, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("outages", Integer, nullable=False),
    Column("outage_started", BigInteger),
    Column("uncertain", Boolean, nullable=False),
    Column("retry_time", BigInteger),
    Column("instance_id", Text, nullable=False),
    Column("output", LargeBinary),
    Column("failure", Text),
)

EVENTS = Table(
    "event",
    METADATA,
    Column("run", Text, primary_key=True),
    Column("sequence", BigInteger, primary_key=True),
    Column("time", BigInteger, nullable=False),
    Column("type", Text, nullable=False),
    Column("step", Text, nullable=False),
    Column("task", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("facts", Text, nullable=False),
)
"""The histories. `facts` holds, as JSON, what only some events have."""
