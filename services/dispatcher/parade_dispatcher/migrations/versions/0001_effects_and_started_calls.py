"""Dispatchers, the effects that they bring about, and the calls that outlive their callers."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Makes the tables."""
    op.create_table(
        "dispatcher",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("beat", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "effect",
        sa.Column("namespace", sa.Text, primary_key=True),
        sa.Column("key", sa.LargeBinary, primary_key=True),
        sa.Column("function", sa.Text, nullable=False),
        sa.Column("arguments_hash", sa.Text, nullable=False),
        sa.Column("call_id", sa.Text, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("instance_id", sa.Text, nullable=False),
        sa.Column("is_final", sa.Boolean, nullable=False),
        sa.Column("result", sa.LargeBinary),
        sa.Column("artifact", sa.LargeBinary),
        sa.Column("error", sa.LargeBinary),
        sa.Column("timing", sa.LargeBinary),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("ended", sa.BigInteger),
    )
    op.create_table(
        "started_call",
        sa.Column("namespace", sa.Text, primary_key=True),
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("agent", sa.Text, nullable=False),
        sa.Column("function", sa.Text, nullable=False),
        sa.Column("arguments", sa.LargeBinary),
        sa.Column("arguments_artifact", sa.LargeBinary),
        sa.Column("options", sa.LargeBinary, nullable=False),
        sa.Column("principal", sa.Text, nullable=False),
        sa.Column("caller", sa.Text, nullable=False),
        sa.Column("traceparent", sa.Text, nullable=False),
        sa.Column("effect", sa.Text, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("instance_id", sa.Text, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("progress", sa.LargeBinary),
        sa.Column("item_count", sa.BigInteger, nullable=False),
        sa.Column("cancel_requested", sa.Boolean, nullable=False),
        sa.Column("cancellation", sa.Text, nullable=False),
        sa.Column("result", sa.LargeBinary),
        sa.Column("artifact", sa.LargeBinary),
        sa.Column("error", sa.LargeBinary),
        sa.Column("timing", sa.LargeBinary),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("deadline", sa.BigInteger, nullable=False),
        sa.Column("ended", sa.BigInteger),
    )
    op.create_table(
        "started_call_item",
        sa.Column("namespace", sa.Text, primary_key=True),
        sa.Column("call", sa.Text, primary_key=True),
        sa.Column("position", sa.BigInteger, primary_key=True),
        sa.Column("size", sa.Integer, nullable=False),
        sa.Column("value", sa.LargeBinary),
        sa.Column("artifact", sa.LargeBinary),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_effect_ended", "effect", ["ended", "created"])
    op.create_index("ix_started_call_created", "started_call", ["namespace", "created", "id"])
    op.create_index("ix_started_call_ended", "started_call", ["ended", "owner"])
