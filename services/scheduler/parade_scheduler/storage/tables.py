"""The scheduler's tables. Times are whole microseconds since 1970, which both databases keep exactly; JSON values are kept as their bytes.

A run is a log of entries: its steps, tasks and history are what its entries say, the newest last. Columns are what rows are looked for by;
everything else that a run or an entry knows stands in `facts`, as JSON.
"""

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, SmallInteger, Table, Text, text

from parade_scheduler.storage import approval_table, audit_table, waking_tables  # noqa: F401  # so that `METADATA` holds every table
from parade_scheduler.storage.metadata import METADATA as METADATA  # noqa: PLC0414  # its users find it beside the tables

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

UNFINISHED = text("ended IS NULL AND NOT parked")
PARKED = text("parked")
ENDED = text("ended IS NOT NULL")
REQUESTED = text("request_id IS NOT NULL")

RUNS = Table(
    "run",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("namespace", Text, nullable=False),
    Column("shard", SmallInteger, nullable=False),
    Column("workflow", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("request_id", Text),
    Column("created", BigInteger, nullable=False),
    Column("ended", BigInteger),
    Column("last_sequence", BigInteger, nullable=False),
    Column("parked", Boolean, nullable=False),
    Column("wake", BigInteger),
    Column("facts", Text, nullable=False),
    Column("inputs", LargeBinary, nullable=False),
    Column("outputs", LargeBinary),
    Index("ix_run_namespace", "namespace", "id"),
    Index("ix_run_workflow", "namespace", "workflow", "id"),
    Index("ix_run_state", "namespace", "state", "id"),
    Index("ix_run_request", "namespace", "request_id", unique=True, sqlite_where=REQUESTED),
    Index("ix_run_unfinished", "shard", "id", "namespace", sqlite_where=UNFINISHED),
    Index("ix_run_wake", "wake", "shard", "id", sqlite_where=PARKED),
    Index("ix_run_ended", "ended", sqlite_where=ENDED),
)
"""Runs as they were when they started, ended, were parked or changed their state. What is newest of `last_sequence` stands in `entry`.

Ids begin with the time of the start, so that new rows go to the end of every index; the partial indexes hold few rows.
"""

ENTRIES = Table(
    "entry",
    METADATA,
    Column("run", Text, primary_key=True),
    Column("last_sequence", BigInteger, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("facts", Text, nullable=False),
    Column("documents", LargeBinary, nullable=False),
)
"""What one commit did to one run: see `entries.py`. `last_sequence` is that of the run after it; `number` counts them.

The key begins with the sequence because histories are read from a sequence on; both grow together.
"""

TERMS = Table(
    "run_term",
    METADATA,
    Column("namespace", Text, primary_key=True),
    Column("term", Text, primary_key=True),
    Column("run", Text, primary_key=True),
    sqlite_with_rowid=False,
)
"""What runs are found by: `label:key=value`, and `input:name=value` of inputs that are short."""

SHARDS = Table(
    "shard",
    METADATA,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column("owner", Text, nullable=False),
    Column("epoch", BigInteger, nullable=False),
)
"""Who may write the runs of a shard: a replica, or nobody where empty. `epoch` grows with every change of owner."""

REPLICAS = Table(
    "replica",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("address", Text, nullable=False),
    Column("expires", BigInteger, nullable=False),
)
"""The schedulers and until when each has said to live, by the database's time. What one owns that has not is free to take.

`address` is for people.
"""

COMMANDS = Table(
    "command",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("shard", SmallInteger, nullable=False),
    Column("run", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("data", LargeBinary, nullable=False),
    Column("created", BigInteger, nullable=False),
    Index("ix_command_shard", "shard", "id"),
)
"""What is meant for a run that another replica leads, until that replica has stored what followed."""
