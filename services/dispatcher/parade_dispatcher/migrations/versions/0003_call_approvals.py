"""The approvals that calls wait for."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Makes the table. A dispatcher of an older version knows no policies, and lets calls through that would have to wait."""
    op.create_table(
        "call_approval",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("namespace", sa.Text, nullable=False),
        sa.Column("function", sa.Text, nullable=False),
        sa.Column("principal", sa.LargeBinary, nullable=False),
        sa.Column("approver", sa.Integer, nullable=False),
        sa.Column("details", sa.LargeBinary, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("expires", sa.BigInteger, nullable=False),
        sa.Column("resolved", sa.BigInteger),
        sa.Column("resolution", sa.LargeBinary),
    )
    op.create_index("ix_call_approval_state", "call_approval", ["namespace", "state", "created", "id"])
    op.create_index("ix_call_approval_expires", "call_approval", ["expires"])
