"""The table of what waits for somebody's approval, or has been resolved. Times are whole microseconds since 1970."""

from sqlalchemy import BigInteger, Column, Index, Integer, Table, Text

from parade_scheduler.storage.metadata import METADATA

APPROVALS = Table(
    "approval",
    METADATA,
    Column("run", Text, primary_key=True),
    Column("step", Text, primary_key=True),
    Column("task", Integer, primary_key=True, autoincrement=False),
    Column("namespace", Text, nullable=False),
    Column("workflow", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("expires", BigInteger),
    Column("resolved", BigInteger),
    Column("resolver", Text, nullable=False),
    Column("note", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("approvers", Text, nullable=False),
    Index("ix_approval_state", "namespace", "state", "created", "run", "step", "task"),
)
"""One row for each task that waits, or waited, for an approval, written in the transactions of its run, whose entries say the same in full.

`approvers` is a list, as JSON.
"""
