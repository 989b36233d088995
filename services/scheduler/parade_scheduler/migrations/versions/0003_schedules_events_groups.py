"""Schedules, events that are published, awaited or start runs, and concurrency groups."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Makes the tables."""
    op.create_table(
        "schedule",
        sa.Column("namespace", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("shard", sa.SmallInteger, nullable=False),
        sa.Column("workflow", sa.Text, nullable=False),
        sa.Column("defined", sa.Boolean, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("next_time", sa.BigInteger),
        sa.Column("last_time", sa.BigInteger),
        sa.Column("last_run", sa.Text, nullable=False),
        sa.Column("facts", sa.Text, nullable=False),
        sa.Column("inputs", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "event_trigger",
        sa.Column("namespace", sa.Text, primary_key=True),
        sa.Column("type", sa.Text, primary_key=True),
        sa.Column("workflow", sa.Text, primary_key=True),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("principal", sa.Text, nullable=False),
    )
    op.create_table(
        "published_event",
        sa.Column("namespace", sa.Text, primary_key=True),
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("shard", sa.SmallInteger, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("pending", sa.Boolean, nullable=False),
        sa.Column("reached", sa.Text, nullable=False),
        sa.Column("trace_parent", sa.Text, nullable=False),
        sa.Column("value", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "awaited_event",
        sa.Column("run", sa.Text, primary_key=True),
        sa.Column("step", sa.Text, primary_key=True),
        sa.Column("task", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("namespace", sa.Text, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("term", sa.Text, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "group_member",
        sa.Column("namespace", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("run", sa.Text, primary_key=True),
        sa.Column("workflow", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("rank", sa.SmallInteger, nullable=False),
        sa.Column("admitted", sa.Boolean, nullable=False),
        sa.Column("cancelled", sa.Boolean, nullable=False),
    )
    _create_indexes()


def _create_indexes() -> None:
    op.create_index("ix_schedule_workflow", "schedule", ["namespace", "workflow", "name"])
    _create_partial("ix_schedule_due", "schedule", ["next_time", "shard"], "next_time IS NOT NULL")
    _create_partial("ix_published_event_pending", "published_event", ["created", "shard"], "pending")
    op.create_index("ix_awaited_event_type", "awaited_event", ["namespace", "type", "term", "run"])
    op.create_index("ix_published_event_created", "published_event", ["created"])
    group = ["namespace", "name"]
    _create_partial("ix_group_member_waiting", "group_member", [*group, "rank", "run"], "NOT admitted AND NOT cancelled")
    _create_partial("ix_group_member_admitted", "group_member", [*group, "run"], "admitted")


def _create_partial(name: str, table: str, columns: list[str], condition: str) -> None:
    op.create_index(name, table, columns, sqlite_where=sa.text(condition), postgresql_where=sa.text(condition))
