"""What an audit log is made of: entries in chains, where each entry's hash covers what it says and the hash before it. Pure.

Who changes, adds, removes or moves an entry breaks a chain at that place. Who computes all hashes from there on anew, or cuts a chain at
its end, is found out by a checkpoint: the heads of the chains as they were, kept where nobody who can write the log can write.
"""

import hashlib
import struct
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final, NamedTuple

_FORMAT: Final = b"parade audit 1"
"""What every hash begins with, so that it is of no other encoding than this."""
_PLACE: Final = struct.Struct(">qqq")


class Kind(StrEnum):
    """What an entry tells of."""

    ALLOW = "ALLOW"
    """Somebody was let in."""
    DENY = "DENY"
    """Somebody was refused."""
    CHANGE = "CHANGE"
    """Somebody changed something."""
    APPROVAL = "APPROVAL"
    """Somebody approved or rejected what waited for it."""


class Entry(NamedTuple):
    """One entry, in the order of the columns of its table."""

    chain: int
    """Which chain of its log it belongs to, counted from 0."""
    sequence: int
    """Its place in the chain, counted from 1 without gaps."""
    time: int
    """When it was, in microseconds since 1970; never before the entry before it."""
    kind: str
    """See `Kind`."""
    action: str
    """What was done: the full name of a method, `/package.Service/Method`."""
    subject: str
    """Who did it: a SPIFFE id; empty for somebody without a certificate of this mesh."""
    namespace: str
    """Where; empty for what belongs to no namespace."""
    resource: str
    """To what, for example `runs/run-…`."""
    facts: str
    """What else is to be known, as a JSON object."""
    previous_hash: bytes
    """The hash of the entry before it; for the first one, `beginning` of its chain."""
    hash: bytes
    """SHA-256 over all of this."""


class Head(NamedTuple):
    """Where a chain ends, in the order of the columns of its table."""

    chain: int
    sequence: int
    """That of its newest entry; 0 where it has none."""
    time: int
    """That of its newest entry."""
    hash: bytes
    """That of its newest entry."""


class Fault(NamedTuple):
    """Where a log is not what was written."""

    chain: int
    sequence: int
    """The first entry at fault, or missing; 0 for the chain as a whole."""
    message: str


def beginning(log: str, chain: int) -> bytes:
    """Returns what stands in the place of the hash before a chain's first entry; no chain of another log, or of another number, has it."""
    return hashlib.sha256(b"%b %b %d" % (_FORMAT, log.encode(), chain)).digest()


def hash_of(entry: Entry) -> bytes:
    """Returns the hash that an entry must have. Each text goes in with its length, so that no two entries are the same bytes."""
    hashed = hashlib.sha256(_FORMAT)
    hashed.update(entry.previous_hash)
    hashed.update(_PLACE.pack(entry.chain, entry.sequence, entry.time))
    for text in entry[3:9]:
        encoded = text.encode("utf-8", "surrogatepass")
        hashed.update(b"%d:%b" % (len(encoded), encoded))
    return hashed.digest()


class Verification:
    """Follows the chains of one log from their beginnings, an entry at a time, chain after chain.

    Attributes:
        checked: How many entries it has been shown.
    """

    def __init__(self, log: str, checkpoint: Iterable[Head] = ()) -> None:
        """Begins before the first entry.

        Args:
            log: Whose log it is: a service.
            checkpoint: Heads that its chains are known to have had.
        """
        self.checked = 0
        self._log = log
        self._expected: dict[int, dict[int, bytes]] = {}
        for head in checkpoint:
            if head.sequence:
                self._expected.setdefault(head.chain, {})[head.sequence] = head.hash
        self._reached: dict[int, Head] = {}
        self._faults: dict[int, Fault] = {}

    def check(self, entry: Entry, *, sealed: bool = False) -> None:
        """Takes the next entry.

        Args:
            entry: The entry.
            sealed: Whether what it says is withheld: then only its place in the chain is checked.
        """
        self.checked += 1
        chain = entry.chain
        if chain in self._faults:
            return
        before = self._reached.get(chain) or Head(chain, 0, 0, beginning(self._log, chain))
        message = _fault(before, entry, sealed=sealed)
        if message:
            self._faults[chain] = Fault(chain, min(entry.sequence, before.sequence + 1), message)
            return
        if self._expected.get(chain, {}).pop(entry.sequence, entry.hash) != entry.hash:
            self._faults[chain] = Fault(chain, entry.sequence, "it is not the entry that the checkpoint has: the chain was written anew")
            return
        self._reached[chain] = Head(chain, entry.sequence, entry.time, entry.hash)

    def end(self, heads: Mapping[int, Head]) -> list[Fault]:
        """Returns the first fault of every chain that has one, after the last entry.

        Args:
            heads: Where the chains end as the log says itself.
        """
        for chain, head in heads.items():
            reached = self._reached.get(chain) or Head(chain, 0, 0, beginning(self._log, chain))
            if chain not in self._faults and reached != head:
                self._faults[chain] = Fault(chain, _first_between(reached, head), _end_fault(reached, head))
        for chain, reached in self._reached.items():
            if chain not in heads and chain not in self._faults:
                self._faults[chain] = Fault(chain, reached.sequence, "the chain has entries and no head")
        for chain, missing in self._expected.items():
            if missing and chain not in self._faults:
                last = self._reached[chain].sequence if chain in self._reached else 0
                message = f"the checkpoint has an entry {max(missing)}, and the chain ends at {last}: it was cut"
                self._faults[chain] = Fault(chain, last + 1, message)
        return [self._faults[chain] for chain in sorted(self._faults)]


def _fault(before: Head, entry: Entry, *, sealed: bool) -> str:
    if entry.sequence != before.sequence + 1:
        return f"entry {before.sequence + 1} is missing: entry {entry.sequence} follows {before.sequence}"
    if entry.previous_hash != before.hash:
        return "its previous hash is not the hash of the entry before it"
    if not sealed and hash_of(entry) != entry.hash:
        return "its hash is not that of what it says"
    return ""


def _first_between(reached: Head, head: Head) -> int:
    return min(reached.sequence, head.sequence) + (reached.sequence != head.sequence)


def _end_fault(reached: Head, head: Head) -> str:
    if reached.sequence < head.sequence:
        return f"the chain ends at {reached.sequence}, and its head says {head.sequence}: it was cut"
    if reached.sequence > head.sequence:
        return f"the chain goes on to {reached.sequence}, and its head says {head.sequence}"
    return "the head is not the newest entry"
