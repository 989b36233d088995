"""What waits for somebody's approval, or has been resolved."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Makes the table. No run of an older version waits for an approval."""
    op.create_table(
        "approval",
        sa.Column("run", sa.Text, primary_key=True),
        sa.Column("step", sa.Text, primary_key=True),
        sa.Column("task", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("namespace", sa.Text, nullable=False),
        sa.Column("workflow", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("expires", sa.BigInteger),
        sa.Column("resolved", sa.BigInteger),
        sa.Column("resolver", sa.Text, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("approvers", sa.Text, nullable=False),
    )
    op.create_index("ix_approval_state", "approval", ["namespace", "state", "created", "run", "step", "task"])
