"""The tables of log records, spans and metric points."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Makes the tables."""
    _log()
    _span()
    _metric()


def _log() -> None:
    op.create_table(
        "log",
        sa.Column("id", _ID, primary_key=True, autoincrement=True),
        sa.Column("time", sa.BigInteger, nullable=False),
        sa.Column("severity", sa.SmallInteger, nullable=False),
        sa.Column("namespace", sa.Text, nullable=False),
        sa.Column("service", sa.Text, nullable=False),
        sa.Column("instance_id", sa.Text, nullable=False),
        sa.Column("event", sa.Text, nullable=False),
        sa.Column("fields", sa.Text, nullable=False),
        sa.Column("trace_id", sa.Text),
        sa.Column("span_id", sa.Text),
        sa.Column("run_id", sa.Text),
        sqlite_autoincrement=True,
    )
    op.create_index("log_by_time", "log", ["time", "id"])
    op.create_index("log_by_service", "log", ["service", "time", "id"])
    for name, column in (("log_by_trace", "trace_id"), ("log_by_run", "run_id")):
        present = sa.text(f"{column} IS NOT NULL")
        op.create_index(name, "log", [column, "time", "id"], sqlite_where=present, postgresql_where=present)


def _span() -> None:
    op.create_table(
        "span",
        sa.Column("id", _ID, primary_key=True, autoincrement=True),
        sa.Column("trace_id", sa.Text, nullable=False),
        sa.Column("span_id", sa.Text, nullable=False),
        sa.Column("parent_span_id", sa.Text, nullable=False),
        sa.Column("namespace", sa.Text, nullable=False),
        sa.Column("service", sa.Text, nullable=False),
        sa.Column("instance_id", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("start_time", sa.BigInteger, nullable=False),
        sa.Column("end_time", sa.BigInteger, nullable=False),
        sa.Column("status", sa.SmallInteger, nullable=False),
        sa.Column("status_message", sa.Text, nullable=False),
        sa.Column("attributes", sa.Text, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("span_by_trace", "span", ["trace_id", "span_id", "namespace"], unique=True)
    op.create_index("span_by_time", "span", ["start_time"])


def _metric() -> None:
    op.create_table(
        "metric",
        sa.Column("id", _ID, primary_key=True, autoincrement=True),
        sa.Column("time", sa.BigInteger, nullable=False),
        sa.Column("start_time", sa.BigInteger, nullable=False),
        sa.Column("namespace", sa.Text, nullable=False),
        sa.Column("service", sa.Text, nullable=False),
        sa.Column("instance_id", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("unit", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("temporality", sa.SmallInteger, nullable=False),
        sa.Column("attributes", sa.Text, nullable=False),
        sa.Column("value", sa.Float(53)),
        sa.Column("count", sa.BigInteger),
        sa.Column("sum", sa.Float(53)),
        sa.Column("min", sa.Float(53)),
        sa.Column("max", sa.Float(53)),
        sa.Column("buckets", sa.Text),
        sqlite_autoincrement=True,
    )
    op.create_index("metric_by_time", "metric", ["time"])
