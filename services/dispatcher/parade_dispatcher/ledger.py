"""What is written of calls with effects: before they leave, and when they end. It decides who may make such a call, and makes none.

An idempotency key is open from when it is written until its outcome is. One dispatcher owns it and makes the call. Whoever comes with the
same key and the same call meanwhile learns which instance has the call, and can ask that for the outcome: Unfinished. While no instance has
it, because all are full, he waits for the owner; where the owner has ended he takes the key over.

Nothing is ever forgotten that could make a call run twice. Where an outcome cannot be written, because the disk is full, its caller is told
all the same after a moment, and the key stays open until it can.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto
from functools import partial
from typing import Final

from parade.wire.errors import ParadeError
from parade_chassis.clock import Clock
from parade_dispatcher.changes import AssignEffect, BeginEffect, EffectRecord, EndEffect, Given, Key, TakeEffect, WithdrawEffect
from parade_dispatcher.follow import Follower
from parade_dispatcher.journal import Journal
from parade_dispatcher.leases import Leases
from parade_dispatcher.model import Conflict, Entry, Failed, Fresh, Outcome, Receipt, Unfinished, Verdict
from parade_dispatcher.ports import Later, Now

RECEIPT_PATIENCE: Final = 2.0
"""Seconds after which the caller is told an outcome that cannot be written."""
OWNER_PATIENCE: Final = 1.0
"""Seconds that the owner of a key may take for its outcome before others ask the instance themselves."""
MEMORY: Final = 3600.0
"""Seconds after which an open key is no longer kept in memory: nobody has learnt its outcome. The database knows it still."""
REMEMBERED_REFUSALS: Final = 1_000
"""Entries that could not be written by all appearance. Of one that stands in the database all the same it is known that nobody has made its
call; of one that was forgotten it is not."""

Decided = Callable[[Verdict], None]


class _Phase(Enum):
    DECIDING = auto()
    """The database is asked, or another dispatcher followed."""
    OPEN = auto()
    """A call is being made here."""
    CLOSING = auto()
    """Its outcome is known, and being written."""


@dataclass(slots=True, eq=False)
class _Key:
    entry: Entry
    """What the key stands for; with the id that the call has at its instance."""
    phase: _Phase = _Phase.DECIDING
    instance_id: str = ""
    outcome: Outcome | None = None
    since: float = 0.0
    """When it was opened."""
    waiting: list[tuple[Entry, Decided]] = field(default_factory=list)


class Ledger:
    """The ledger of one dispatcher, over the database of all."""

    def __init__(
        self, id: str, journal: Journal, follower: Follower[EffectRecord], leases: Leases, clock: Clock, now: Now, later: Later
    ) -> None:
        """Takes its parts.

        Args:
            id: Names this process among all dispatchers.
            journal: Writes.
            follower: Looks at effects of other dispatchers.
            leases: Knows which dispatchers live.
            clock: The time of day, for the record.
            now: The time by the event loop's clock.
            later: Calls back after some seconds.
        """
        self._id = id
        self._journal = journal
        self._follower = follower
        self._leases = leases
        self._clock = clock
        self._now = now
        self._later = later
        self._keys: dict[Key, _Key] = {}
        self._endings: deque[tuple[float, _Ending]] = deque()
        self._sweeping = False
        self._refused: deque[tuple[str, str, str]] = deque(maxlen=REMEMBERED_REFUSALS)

    @property
    def owned(self) -> int:
        """How many keys this dispatcher has to do with."""
        return len(self._keys)

    def begin(self, entry: Entry, decided: Decided) -> None:
        """Writes that a call is going to be made, unless its key is known, and says which."""
        key = self._keys.get((entry.namespace, entry.key))
        if key is not None:
            self._join(key, entry, decided)
            return
        key = self._keys[entry.namespace, entry.key] = _Key(entry)
        self._ask(key, entry, decided)

    def assigned(self, entry: Entry, instance_id: str) -> None:
        """Takes down which instance has the call."""
        key = self._keys.get((entry.namespace, entry.key))
        if key is not None:
            key.instance_id = instance_id
        self._journal.add(AssignEffect(entry, instance_id), urgent=False)

    def end(self, entry: Entry, outcome: Outcome, written: Callable[[], None]) -> None:
        """Writes how the call ended, and says when that is safe, or that it takes too long."""
        key = self._keys.get((entry.namespace, entry.key))
        if key is not None and key.phase is _Phase.OPEN:
            key.phase, key.outcome = _Phase.CLOSING, outcome
        else:
            key = None  # two who knew of one call both learnt its end
        ending = _Ending(written, key)
        self._endings.append((self._now() + RECEIPT_PATIENCE, ending))
        self._sweep_later(RECEIPT_PATIENCE)
        self._journal.add(EndEffect(entry, outcome, self._clock.now()), partial(self._ended, ending), must=True)

    def withdraw(self, entry: Entry) -> None:
        """Takes back an entry whose function is known not to have run."""
        key = self._keys.get((entry.namespace, entry.key))
        if key is None or key.phase is not _Phase.OPEN or key.entry.call_id != entry.call_id:
            return
        key.phase = _Phase.CLOSING
        self._journal.add(WithdrawEffect(entry), lambda _: self._close(key), must=True)

    def forget(self) -> None:
        """Lets go of keys of which nobody has learnt the outcome for long; the database keeps them."""
        limit = self._now() - MEMORY
        old = [name for name, key in self._keys.items() if key.phase is _Phase.OPEN and key.since < limit]
        for name in old:
            del self._keys[name]

    def _join(self, key: _Key, entry: Entry, decided: Decided) -> None:
        """Decides on a call whose key another one of this process has."""
        if key.phase is _Phase.DECIDING:
            key.waiting.append((entry, decided))
        elif _differs(entry, key.entry):
            self._later(0, partial(decided, _conflict(key.entry)))
        elif key.phase is _Phase.OPEN:
            self._later(0, partial(decided, Unfinished(key.instance_id, key.entry.call_id)))
        else:
            key.waiting.append((entry, decided))

    def _ask(self, key: _Key, entry: Entry, decided: Decided) -> None:
        self._journal.add(BeginEffect(entry, self._clock.now()), partial(self._begun, key, entry, decided))

    def _begun(self, key: _Key, entry: Entry, decided: Decided, given: Given | ParadeError) -> None:
        if isinstance(given, ParadeError):
            self._refused.append((entry.namespace, entry.key, entry.call_id))
            decided(Failed(given))
            self._close(key)
        elif isinstance(given, EffectRecord):
            self._found(key, entry, decided, given)
        else:
            key.entry = entry
            self._opened(key, decided, Fresh())

    def _found(self, key: _Key, entry: Entry, decided: Decided, record: EffectRecord) -> None:
        """Decides on a call whose key the database knows."""
        if _differs(entry, record.entry):
            decided(_conflict(record.entry))
            self._close(key)
        elif record.outcome is not None:
            decided(Receipt(record.outcome))
            key.entry, key.outcome = record.entry, record.outcome
            self._close(key)
        elif record.owner == self._id and (record.entry.namespace, record.entry.key, record.entry.call_id) in self._refused:
            # Its commit had failed by all appearance. The call was refused then: nobody has made it.
            again = partial(self._begin_anew, key, entry, decided)
            self._journal.add(WithdrawEffect(record.entry), again)
        elif record.owner == self._id:
            self._taken(key, entry, decided, record)
        elif self._leases.lives(record.owner, record.beat):
            self._follow(key, entry, decided, self._now() + OWNER_PATIENCE)
        else:
            self._journal.add(TakeEffect(record.entry, record.owner), partial(self._taken, key, entry, decided))

    def _begin_anew(self, key: _Key, entry: Entry, decided: Decided, given: Given | ParadeError) -> None:
        if isinstance(given, ParadeError):
            decided(Failed(given))
            self._close(key)
        else:
            self._ask(key, entry, decided)

    def _taken(self, key: _Key, entry: Entry, decided: Decided, given: Given | ParadeError) -> None:
        if isinstance(given, EffectRecord) and given.owner == self._id and given.outcome is None:
            key.entry, key.instance_id = given.entry, given.instance_id
            self._opened(key, decided, Unfinished(given.instance_id, given.entry.call_id))
        elif isinstance(given, EffectRecord):
            self._found(key, entry, decided, given)
        else:
            self._begin_anew(key, entry, decided, given)

    def _follow(self, key: _Key, entry: Entry, decided: Decided, until: float) -> None:
        """Waits for the owner of the key: until the call or the owner has ended, or an instance has the call for long and can be asked."""
        name = (entry.namespace, entry.key)

        def seen(record: EffectRecord | None) -> None:
            has_instance = False
            if record is not None and record.outcome is None and self._leases.lives(record.owner, record.beat):
                has_instance = record.instance_id != "" and self._now() >= until
                if not has_instance:
                    return
            self._follower.leave(name, seen)
            if record is None:
                self._ask(key, entry, decided)
            elif has_instance:
                decided(Unfinished(record.instance_id, record.entry.call_id))
                self._close(key)
            else:
                self._found(key, entry, decided, record)

        self._follower.follow(name, seen)

    def _opened(self, key: _Key, decided: Decided, verdict: Verdict) -> None:
        key.phase, key.since = _Phase.OPEN, self._now()
        decided(verdict)
        waiting, key.waiting = key.waiting, []
        for entry, other in waiting:
            self._join(key, entry, other)

    def _ended(self, ending: "_Ending", _: Given | ParadeError) -> None:
        ending.tell()
        if ending.key is not None:
            self._close(ending.key)

    def _close(self, key: _Key) -> None:
        """Lets a key go; those who wait for it learn its outcome, or begin anew where it has none."""
        del self._keys[key.entry.namespace, key.entry.key]
        for entry, decided in key.waiting:
            if key.outcome is None or (entry.namespace, entry.key) in self._keys:
                self.begin(entry, decided)
            elif _differs(entry, key.entry):
                decided(_conflict(key.entry))
            else:
                decided(Receipt(key.outcome))

    def _sweep_later(self, pause: float) -> None:
        if not self._sweeping:
            self._sweeping = True
            self._later(pause, self._sweep)

    def _sweep(self) -> None:
        self._sweeping = False
        while self._endings and (self._endings[0][1].told or self._endings[0][0] <= self._now()):
            self._endings.popleft()[1].tell()
        if self._endings:
            self._sweep_later(self._endings[0][0] - self._now())


class _Ending:
    """An outcome that is being written, and who waits for that."""

    __slots__ = ("_written", "key", "told")

    def __init__(self, written: Callable[[], None], key: _Key | None) -> None:
        self._written = written
        self.key = key
        self.told = False

    def tell(self) -> None:
        if not self.told:
            self.told = True
            self._written()


def _differs(entry: Entry, known: Entry) -> bool:
    if not entry.arguments_hash or not known.arguments_hash:
        return entry.function != known.function
    return entry.function != known.function or entry.arguments_hash != known.arguments_hash


def _conflict(known: Entry) -> Conflict:
    return Conflict(
        f"the idempotency key {known.key!r} was used for another call, of {known.function}; one key is for one function and its arguments"
    )
