"""The dispatcher's tables. Times are whole microseconds since 1970, which both databases keep exactly; JSON values are kept as their bytes.

A value that travels as an artifact is kept as its reference. Whatever a person or an agent may have written freely is kept as JSON or
bytes: a text of PostgreSQL holds no NUL.
"""

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, MetaData, Table, Text

from parade_chassis.audit_log import AuditTables

METADATA = MetaData()
AUDIT = AuditTables("dispatcher", METADATA)

DISPATCHERS = Table(
    "dispatcher",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("beat", BigInteger, nullable=False),
)
"""The dispatchers that own something. `id` is of one process and `name` of the replica, which may have had many processes; `beat` grows
while the process lives. An owner that has no row has ended."""

EFFECTS = Table(
    "effect",
    METADATA,
    Column("namespace", Text, primary_key=True),
    Column("key", LargeBinary, primary_key=True),
    Column("function", Text, nullable=False),
    Column("arguments_hash", Text, nullable=False),
    Column("call_id", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("instance_id", Text, nullable=False),
    Column("is_final", Boolean, nullable=False),
    Column("result", LargeBinary),
    Column("artifact", LargeBinary),
    Column("error", LargeBinary),
    Column("timing", LargeBinary),
    Column("created", BigInteger, nullable=False),
    Column("ended", BigInteger),
    Index("ix_effect_ended", "ended", "created"),
)
"""What calls of functions with effects are to bring about, by idempotency key, and what came of it. `is_final` is false while the call is
open, and where it ended without anybody knowing how: then what is learnt later still counts."""

CALLS = Table(
    "started_call",
    METADATA,
    Column("namespace", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("agent", Text, nullable=False),
    Column("function", Text, nullable=False),
    Column("arguments", LargeBinary),
    Column("arguments_artifact", LargeBinary),
    Column("options", LargeBinary, nullable=False),
    Column("principal", Text, nullable=False),
    Column("caller", Text, nullable=False),
    Column("traceparent", Text, nullable=False),
    Column("effect", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("instance_id", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("progress", LargeBinary),
    Column("item_count", BigInteger, nullable=False),
    Column("cancel_requested", Boolean, nullable=False),
    Column("cancellation", Text, nullable=False),
    Column("result", LargeBinary),
    Column("artifact", LargeBinary),
    Column("error", LargeBinary),
    Column("timing", LargeBinary),
    Column("created", BigInteger, nullable=False),
    Column("deadline", BigInteger, nullable=False),
    Column("ended", BigInteger),
    Index("ix_started_call_created", "namespace", "created", "id"),
    Index("ix_started_call_ended", "ended", "owner"),
)
"""The calls that were started to outlive their callers."""

ITEMS = Table(
    "started_call_item",
    METADATA,
    Column("namespace", Text, primary_key=True),
    Column("call", Text, primary_key=True),
    Column("position", BigInteger, primary_key=True),
    Column("size", Integer, nullable=False),
    Column("value", LargeBinary),
    Column("artifact", LargeBinary),
    sqlite_with_rowid=False,
)
"""What streaming functions have given, counted from 0."""

CALL_APPROVALS = Table(
    "call_approval",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("namespace", Text, nullable=False),
    Column("function", Text, nullable=False),
    Column("principal", LargeBinary, nullable=False),
    Column("approver", Integer, nullable=False),
    Column("details", LargeBinary, nullable=False),
    Column("state", Text, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("expires", BigInteger, nullable=False),
    Column("resolved", BigInteger),
    Column("resolution", LargeBinary),
    Index("ix_call_approval_state", "namespace", "state", "created", "id"),
    Index("ix_call_approval_expires", "expires"),
)
"""The calls that wait, or waited, for somebody's approval. `id` follows from what the approval binds; `approver` is the number of a role,
`details` holds what else the approval says of its call, `resolution` who resolved it and what they said, both as JSON."""
