"""The tables of the monitor. Rows are only added and, when they are old, deleted; ids are in the order of arrival."""

from sqlalchemy import BigInteger, Column, Float, Index, Integer, MetaData, SmallInteger, Table, Text, text

from parade_chassis.audit_log import AuditTables

METADATA = MetaData()
AUDIT = AuditTables("monitor", METADATA)

_ID = BigInteger().with_variant(Integer, "sqlite")
_IN_TRACE = text("trace_id IS NOT NULL")
_IN_RUN = text("run_id IS NOT NULL")

LOG = Table(
    "log",
    METADATA,
    Column("id", _ID, primary_key=True, autoincrement=True),
    Column("time", BigInteger, nullable=False),
    Column("severity", SmallInteger, nullable=False),
    Column("namespace", Text, nullable=False),
    Column("service", Text, nullable=False),
    Column("instance_id", Text, nullable=False),
    Column("event", Text, nullable=False),
    Column("fields", Text, nullable=False),
    Column("trace_id", Text),
    Column("span_id", Text),
    Column("run_id", Text),
    Index("log_by_time", "time", "id"),
    Index("log_by_service", "service", "time", "id"),
    # Most records belong to no trace or run, and take no place in these two.
    Index("log_by_trace", "trace_id", "time", "id", sqlite_where=_IN_TRACE),
    Index("log_by_run", "run_id", "time", "id", sqlite_where=_IN_RUN),
    sqlite_autoincrement=True,  # an id is never given twice, even where every row was deleted
)

SPAN = Table(
    "span",
    METADATA,
    Column("id", _ID, primary_key=True, autoincrement=True),
    Column("trace_id", Text, nullable=False),
    Column("span_id", Text, nullable=False),
    Column("parent_span_id", Text, nullable=False),
    Column("namespace", Text, nullable=False),
    Column("service", Text, nullable=False),
    Column("instance_id", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("start_time", BigInteger, nullable=False),
    Column("end_time", BigInteger, nullable=False),
    Column("status", SmallInteger, nullable=False),
    Column("status_message", Text, nullable=False),
    Column("attributes", Text, nullable=False),
    # An exporter that has had no answer sends its spans again. The namespace keeps one tenant from taking another's ids.
    Index("span_by_trace", "trace_id", "span_id", "namespace", unique=True),
    Index("span_by_time", "start_time"),
    sqlite_autoincrement=True,
)

METRIC = Table(
    "metric",
    METADATA,
    Column("id", _ID, primary_key=True, autoincrement=True),
    Column("time", BigInteger, nullable=False),
    Column("start_time", BigInteger, nullable=False),
    Column("namespace", Text, nullable=False),
    Column("service", Text, nullable=False),
    Column("instance_id", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("unit", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("temporality", SmallInteger, nullable=False),
    Column("attributes", Text, nullable=False),
    Column("value", Float(53)),
    Column("count", BigInteger),
    Column("sum", Float(53)),
    Column("min", Float(53)),
    Column("max", Float(53)),
    Column("buckets", Text),
    Index("metric_by_time", "time"),
    sqlite_autoincrement=True,
)
