"""The certificates that were issued, and what is revoked."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Makes the tables."""
    op.create_table(
        "certificate",
        sa.Column("serial", sa.Text, primary_key=True),
        sa.Column("spiffe_id", sa.Text, nullable=False),
        sa.Column("namespace", sa.Text, nullable=False),
        sa.Column("key_fingerprint", sa.Text, nullable=False),
        sa.Column("chain", sa.Text, nullable=False),
        sa.Column("issued", sa.BigInteger, nullable=False),
        sa.Column("expires", sa.BigInteger, nullable=False),
        sa.Column("superseded_by", sa.Text),
    )
    op.create_index("certificate_by_key", "certificate", ["spiffe_id", "key_fingerprint"], unique=True)
    op.create_index("certificate_by_namespace", "certificate", ["namespace", "serial"])
    op.create_index("ix_certificate_expires", "certificate", ["expires"])
    op.create_table(
        "revocation",
        sa.Column("subject", sa.Text, primary_key=True),
        sa.Column("namespace", sa.Text, nullable=False),
        sa.Column("revoked", sa.BigInteger, nullable=False),
        sa.Column("expires", sa.BigInteger, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("revoked_by", sa.Text, nullable=False),
    )
    op.create_index("ix_revocation_expires", "revocation", ["expires"])
