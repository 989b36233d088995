"""The tables of the agent_manager.

Times are whole microseconds since 1970, which both databases keep exactly.
"""

from datetime import UTC, datetime, timedelta

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, MetaData, Table, Text

from parade_chassis.audit_log import AuditTables

METADATA = MetaData()
AUDIT = AuditTables("agent_manager", METADATA)

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

CERTIFICATES = Table(
    "certificate",
    METADATA,
    Column("serial", Text, primary_key=True),
    Column("spiffe_id", Text, nullable=False),
    Column("namespace", Text, nullable=False),
    Column("key_fingerprint", Text, nullable=False),
    Column("chain", Text, nullable=False),
    Column("issued", BigInteger, nullable=False),
    Column("expires", BigInteger, nullable=False, index=True),
    Column("superseded_by", Text),
    # A key has one certificate: a retry finds it, and no renewal goes back to a key that was used before.
    Index("certificate_by_key", "spiffe_id", "key_fingerprint", unique=True),
    Index("certificate_by_namespace", "namespace", "serial"),
)

REVOCATIONS = Table(
    "revocation",
    METADATA,
    Column("subject", Text, primary_key=True),
    Column("namespace", Text, nullable=False),
    Column("revoked", BigInteger, nullable=False),
    Column("expires", BigInteger, nullable=False, index=True),
    Column("reason", Text, nullable=False),
    Column("revoked_by", Text, nullable=False),
)

API_KEYS = Table(
    "api_key",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("digest", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("namespace", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("expires", BigInteger, nullable=False),
    Column("revoked", BigInteger),
)

ROLE_GRANTS = Table(
    "role_grant",
    METADATA,
    Column("subject", Text, primary_key=True),
    Column("namespace", Text, primary_key=True),
    Column("role", Text, nullable=False),
    Column("granted_by", Text, nullable=False),
    Column("granted", BigInteger, nullable=False),
)

POLICIES = Table(
    "policy",
    METADATA,
    Column("namespace", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("text", Text, nullable=False),
    Column("rule_count", Integer, nullable=False),
    Column("author", Text, nullable=False),
    Column("created", BigInteger, nullable=False),
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_micros(time: datetime) -> int:
    """Writes a time."""
    return (time - _EPOCH) // timedelta(microseconds=1)


def from_micros(micros: int) -> datetime:
    """Reads a time."""
    return _EPOCH + timedelta(microseconds=micros)
