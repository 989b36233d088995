"""The statements that write the audit log for those who use the drivers' own calls. What they say, `AuditTables.append` says as well."""

from typing import Final

from parade.wire.audit import Entry, Head
from parade_chassis.audit import first_head
from parade_scheduler.storage.audit_table import AUDIT

_ENTRIES: Final = AUDIT.entries.name
_HEADS: Final = AUDIT.heads.name
_ENTRY_COLUMNS: Final = ", ".join(Entry._fields)
_HEAD_COLUMNS: Final = ", ".join(Head._fields)

SQLITE_HEAD: Final = f"SELECT {_HEAD_COLUMNS} FROM {_HEADS} ORDER BY chain LIMIT 1"  # noqa: S608  # names of our own columns
SQLITE_ENTRIES: Final = f"INSERT INTO {_ENTRIES} ({_ENTRY_COLUMNS}) VALUES ({', '.join('?' * len(Entry._fields))})"  # noqa: S608
SQLITE_NEW_HEAD: Final = f"INSERT OR REPLACE INTO {_HEADS} ({_HEAD_COLUMNS}) VALUES (?, ?, ?, ?)"  # noqa: S608

# A chain that another replica writes into at this moment is passed over.
POSTGRES_HEAD: Final = f"SELECT {_HEAD_COLUMNS} FROM {_HEADS} ORDER BY chain LIMIT 1 FOR UPDATE SKIP LOCKED"  # noqa: S608
POSTGRES_NEXT_CHAIN: Final = f"SELECT coalesce(max(chain) + 1, 0) FROM {_HEADS}"  # noqa: S608
POSTGRES_BEGIN: Final = f"INSERT INTO {_HEADS} ({_HEAD_COLUMNS}) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING RETURNING chain"  # noqa: S608
POSTGRES_ENTRIES: Final = f"""
    WITH moved AS (UPDATE {_HEADS} SET sequence = $12, time = $13, hash = $14 WHERE chain = $15)
    INSERT INTO {_ENTRIES} ({_ENTRY_COLUMNS})
    SELECT * FROM unnest(
        $1::int[], $2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[],
        $10::bytea[], $11::bytea[]
    )"""  # noqa: S608


def first(chain: int = 0) -> Head:
    """Returns the head of a chain that is begun."""
    return first_head(AUDIT.log, chain)
