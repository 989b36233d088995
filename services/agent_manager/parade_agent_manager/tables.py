"""The tables of the agent_manager.

Times are whole microseconds since 1970, which both databases keep exactly.
"""

from datetime import UTC, datetime, timedelta

from sqlalchemy import BigInteger, Boolean, Column, MetaData, Table, Text

METADATA = MetaData()

AGENTS = Table(
    "agent",
    METADATA,
    Column("namespace", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("state", Text, nullable=False),
    Column("functions", Text, nullable=False),
)

INSTANCES = Table(
    "instance",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("namespace", Text, nullable=False),
    Column("agent", Text, nullable=False),
    Column("server_name", Text, nullable=False),
    Column("registration", Text, nullable=False),
    Column("registered", BigInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("changed", BigInteger, nullable=False),
    Column("draining", Boolean, nullable=False),
    Column("heartbeat", BigInteger),
)

JOIN_TOKENS = Table(
    "join_token",
    METADATA,
    Column("hash", Text, primary_key=True),
    Column("namespace", Text, nullable=False),
    Column("agent", Text, nullable=False),
    Column("expires", BigInteger, nullable=False, index=True),
    Column("key_fingerprint", Text),
    Column("instance", Text),
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_micros(time: datetime) -> int:
    """Writes a time."""
    return (time - _EPOCH) // timedelta(microseconds=1)


def from_micros(micros: int) -> datetime:
    """Reads a time."""
    return _EPOCH + timedelta(microseconds=micros)
