"""The tables of what starts runs and lets them go on: schedules, events, and concurrency groups.

Times are whole microseconds since 1970; everything that nobody looks for stands in `facts`, as JSON.
"""

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, SmallInteger, Table, Text, text

from parade_scheduler.storage.metadata import METADATA

WAITING_SCHEDULES = text("next_time IS NOT NULL")
PENDING = text("pending")
WAITING = text("NOT admitted AND NOT cancelled")
ADMITTED = text("admitted")

SCHEDULES = Table(
    "schedule",
    METADATA,
    Column("namespace", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("shard", SmallInteger, nullable=False),
    Column("workflow", Text, nullable=False),
    Column("defined", Boolean, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("next_time", BigInteger),
    Column("last_time", BigInteger),
    Column("last_run", Text, nullable=False),
    Column("facts", Text, nullable=False),
    Column("inputs", LargeBinary, nullable=False),
    Index("ix_schedule_workflow", "namespace", "workflow", "name"),
    Index("ix_schedule_due", "next_time", "shard", sqlite_where=WAITING_SCHEDULES),
)
"""Schedules. The owner of the shard starts their runs; `revision` counts how often one was put, so that what was read before is not written
over what was put since."""

TRIGGERS = Table(
    "event_trigger",
    METADATA,
    Column("namespace", Text, primary_key=True),
    Column("type", Text, primary_key=True),
    Column("workflow", Text, primary_key=True),
    Column("version", Integer, nullable=False),
    Column("principal", Text, nullable=False),
)
"""Which workflows may begin on events of a type, each in its newest version, and who put that."""

PUBLISHED_EVENTS = Table(
    "published_event",
    METADATA,
    Column("namespace", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("shard", SmallInteger, nullable=False),
    Column("type", Text, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("pending", Boolean, nullable=False),
    Column("reached", Text, nullable=False),
    Column("trace_parent", Text, nullable=False),
    Column("value", LargeBinary, nullable=False),
    Index("ix_published_event_pending", "created", "shard", sqlite_where=PENDING),
    Index("ix_published_event_created", "created"),
)
"""Events of the last day. While one is `pending` somebody may still have to get it; runs up to `reached` have it."""

AWAITED_EVENTS = Table(
    "awaited_event",
    METADATA,
    Column("run", Text, primary_key=True),
    Column("step", Text, primary_key=True),
    Column("task", Integer, primary_key=True, autoincrement=False),
    Column("namespace", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("term", Text, nullable=False),
    Index("ix_awaited_event_type", "namespace", "type", "term", "run"),
    sqlite_with_rowid=False,
)
"""The tasks that wait for events of a type; written with the run itself, see `notes.py`. Where `term` is not empty, they want only events
that have it; see `expression/correlation.py`."""

GROUP_MEMBERS = Table(
    "group_member",
    METADATA,
    Column("namespace", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("run", Text, primary_key=True),
    Column("workflow", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("rank", SmallInteger, nullable=False),
    Column("admitted", Boolean, nullable=False),
    Column("cancelled", Boolean, nullable=False),
    Index("ix_group_member_waiting", "namespace", "name", "rank", "run", sqlite_where=WAITING),
    Index("ix_group_member_admitted", "namespace", "name", "run", sqlite_where=ADMITTED),
)
"""The runs of concurrency groups that have not ended; written with the run itself, see `notes.py`. The lowest `rank` goes first.

`admitted` and `cancelled` say what the group has told the run, not that the run has followed yet.
"""
