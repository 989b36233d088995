"""What is to be written into a service's audit log, and how it becomes the next entries of a chain. Pure; `audit_log` has the tables."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import orjson

from parade.wire.audit import Entry, Head, Kind, beginning, hash_of

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MAX_TEXT: Final = 1_000
"""Characters of the longest text that an entry takes: some are written by strangers."""


@dataclass(frozen=True, slots=True)
class Record:
    """What an entry will say, before it has its place in a chain."""

    kind: Kind
    action: str
    """The full name of a method, `/package.Service/Method`."""
    subject: str
    """A SPIFFE id; empty for somebody without a certificate of this mesh."""
    namespace: str
    resource: str
    time: datetime
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What JSON can say. Never a secret, and nothing that a caller sent as a value."""


def chained(head: Head, records: Iterable[Record]) -> tuple[list[Entry], Head]:
    """Makes the next entries of a chain.

    Args:
        head: Where the chain ends.
        records: What they are to say, in their order.

    Returns:
        The entries, and where the chain ends with them.
    """
    entries: list[Entry] = []
    for record in records:
        # Clocks of replicas differ; within a chain time does not run backwards, so that its entries can be read by time.
        time = max(head.time, (record.time - _EPOCH) // timedelta(microseconds=1))
        texts = map(_kept, (record.kind.value, record.action, record.subject, record.namespace, record.resource))
        facts = orjson.dumps(record.facts, option=orjson.OPT_SORT_KEYS).decode()
        entry = Entry._make((head.chain, head.sequence + 1, time, *texts, facts, head.hash, b""))
        entry = entry._replace(hash=hash_of(entry))
        entries.append(entry)
        head = Head(entry.chain, entry.sequence, entry.time, entry.hash)
    return entries, head


def first_head(log: str, chain: int) -> Head:
    """Returns the head of a chain without entries."""
    return Head(chain, 0, 0, beginning(log, chain))


def _kept(text: str) -> str:
    # PostgreSQL keeps no NUL in a text.
    return text[:MAX_TEXT].replace("\x00", "\ufffd")
