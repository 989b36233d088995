"""Workflows, runs, their steps and tasks, and the histories."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Makes the tables."""
    op.create_table(
        "workflow",
        sa.Column("namespace", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True),
        sa.Column("hash", sa.Text, nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "run",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("namespace", sa.Text, nullable=False),
        sa.Column("workflow", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("inputs", sa.LargeBinary, nullable=False),
        sa.Column("outputs", sa.LargeBinary),
        sa.Column("failure", sa.Text),
        sa.Column("labels", sa.Text, nullable=False),
        sa.Column("principal", sa.Text, nullable=False),
        sa.Column("request_id", sa.Text),
        sa.Column("trace_parent", sa.Text, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("deadline", sa.BigInteger),
        sa.Column("ended", sa.BigInteger),
        sa.Column("last_sequence", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "run_label",
        sa.Column("run", sa.Text, primary_key=True),
        sa.Column("label", sa.Text, primary_key=True),
    )
    op.create_table(
        "step",
        sa.Column("run", sa.Text, primary_key=True),
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("call", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("tasks", sa.Integer, nullable=False),
        sa.Column("tasks_succeeded", sa.Integer, nullable=False),
        sa.Column("tasks_failed", sa.Integer, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("items", sa.LargeBinary),
        sa.Column("failure", sa.Text),
        sa.Column("started", sa.BigInteger),
        sa.Column("ended", sa.BigInteger),
    )
    op.create_table(
        "task",
        sa.Column("run", sa.Text, primary_key=True),
        sa.Column("step", sa.Text, primary_key=True),
        sa.Column("index", sa.Integer, primary_key=True),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("started", sa.BigInteger, nullable=False),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("outages", sa.Integer, nullable=False),
        sa.Column("outage_started", sa.BigInteger),
        sa.Column("uncertain", sa.Boolean, nullable=False),
        sa.Column("retry_time", sa.BigInteger),
        sa.Column("instance_id", sa.Text, nullable=False),
        sa.Column("output", sa.LargeBinary),
        sa.Column("failure", sa.Text),
    )
    op.create_table(
        "event",
        sa.Column("run", sa.Text, primary_key=True),
        sa.Column("sequence", sa.BigInteger, primary_key=True),
        sa.Column("time", sa.BigInteger, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("step", sa.Text, nullable=False),
        sa.Column("task", sa.Integer, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("facts", sa.Text, nullable=False),
    )
    op.create_index("ix_run_namespace", "run", ["namespace", "id"])
    op.create_index("ix_run_workflow", "run", ["namespace", "workflow", "id"])
    op.create_index("ix_run_state", "run", ["state"])
    op.create_index("ix_run_request", "run", ["namespace", "request_id"], unique=True)
    op.create_index("ix_run_label_label", "run_label", ["label", "run"])
