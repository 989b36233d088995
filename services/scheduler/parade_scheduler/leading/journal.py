"""The one writer of runs. It decides in memory on what has queued, and commits it all in one transaction.

While a batch is being committed the next one is decided on, which is of other runs: what happens meanwhile to a run of the first waits for
its end. Nothing leaves before its commit: replies, calls, timers and news to watchers are released afterwards. A run that only waits, for
longer than `PARK_AFTER` or for something from outside, leaves memory; what happens to it then loads it first.
"""

import asyncio
from collections import deque
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Final

from parade.wire.errors import ParadeError, Reason
from parade.wire.log import Log
from parade_chassis.clock import Clock
from parade_scheduler.crash_points import reached
from parade_scheduler.decider import Decider, Execution, Occurrence, Recovered
from parade_scheduler.leading.committer import Committer
from parade_scheduler.leading.happenings import OUTCOMES, ElsewhereError, Happening, Held, Share, Together, Whole
from parade_scheduler.leading.memory import Memory
from parade_scheduler.leading.ownership import Shards
from parade_scheduler.leading.release import Carrier, Release
from parade_scheduler.leading.shared_room import SharedRoom
from parade_scheduler.leading.timers import NEAR, Timers
from parade_scheduler.leading.watchers import Watchers
from parade_scheduler.model import Run
from parade_scheduler.storage.store import Store, shard_of

MAX_BATCH: Final = 1_000
"""How many happenings one transaction takes at most, so that a commit stays short."""
TURN: Final = 100
"""How many happenings are decided on before others of the process have their turn."""
MAX_WAITING: Final = 10_000
"""How many requests may wait for the writer; more are refused, see `SharedRoom`. What tasks report always finds place, for they are bounded
themselves."""
PARK_AFTER: Final = NEAR
"""Seconds that a run which only waits for a time must have left for it to leave memory."""
STOPPED: Final = "the scheduler has stopped; ask again"


class Journal:
    """Leads the runs of this replica that have not ended.

    Attributes:
        timers: The reminders of the runs in memory.
        missing: What happened to runs that have to be loaded first.
        wanted: Set where there is something in `missing`.
    """

    def __init__(self, store: Store, decider: Decider, clock: Clock, shards: Shards, watchers: Watchers, log: Log) -> None:
        """Takes where it writes, what decides, the time, which runs it may lead, who wants news, and the log."""
        self._decider = decider
        self._clock = clock
        self._shards = shards
        self._watchers = watchers
        self._log = log
        self.timers = Timers(clock, self.report)
        self._memory = Memory(self.timers)
        self._release = Release(self._memory, watchers, clock)
        self._committer = Committer(store, self._memory, self._release, clock, shards, self, log)
        self.missing: dict[str, list[Happening]] = {}
        self.wanted = asyncio.Event()
        self._happenings: deque[Happening] = deque()
        self._room = SharedRoom()
        """What requests take that wait for an answer."""
        self._wake = asyncio.Event()
        self._open = Together()
        """What has been decided on and waits for the commit before it."""
        self._closed = Together()
        """What is being committed."""
        self._decided = asyncio.Event()
        self._stopped = False
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def active(self) -> int:
        """How many runs are in memory."""
        return len(self._memory.runs)

    @property
    def waking(self) -> int:
        """How many runs are in memory of which the store says that they are parked."""
        return len(self._memory.waking)

    def holds(self, run: str) -> bool:
        """Tells whether a run is in memory."""
        return run in self._memory.runs

    def held(self, run: str) -> Run | None:
        """Returns a run in memory, in which there may be what is not stored yet; None for any other."""
        held = self._memory.runs.get(run)
        return None if held is None else held.execution.run

    async def start(self, execution: Execution, occurrence: Occurrence, command: str = "") -> Whole | None:
        """Begins a new run and returns it once it is stored; None where its request has started another before.

        Raises:
            ParadeError: NO_CAPACITY, where too much waits to be written; UNAVAILABLE, where it could not be stored.
            ElsewhereError: The run's shard is not this replica's.
        """
        return await self._ask(Happening(execution.run.id, occurrence, new=execution, command=command), execution.run.namespace)

    async def request(self, run: str, occurrence: Occurrence | None, command: str = "", *, namespace: str = "") -> Whole | None:
        """Lets something happen to a run, or nothing, and returns the run once that is stored; None where it does not exist.

        Nothing happens to a run that has ended.

        Args:
            run: The run.
            occurrence: What happens to it.
            command: The id of the command that this settles.
            namespace: Who asks; empty for replicas, whose commands come a few at a time.

        Raises:
            ParadeError: NO_CAPACITY, where too much waits to be written; UNAVAILABLE, where it could not be stored.
            ElsewhereError: The run's shard is not this replica's.
        """
        return await self._ask(Happening(run, occurrence, command=command), namespace)

    def report(self, run: str, occurrence: Occurrence) -> None:
        """Lets something happen to a run. Returns at once."""
        if isinstance(occurrence, OUTCOMES):
            reached("on_outcome")
        self._add(Happening(run, occurrence))

    def want(self, runs: Iterable[str]) -> None:
        """Asks for runs to be brought into memory."""
        for run in runs:
            if run not in self._memory.runs:
                self.missing.setdefault(run, [])
        if self.missing:
            self._idle.clear()
            self.wanted.set()

    def adopt(self, execution: Execution, number: int, *, parked: bool, wake: datetime | None, time: datetime | None) -> None:
        """Takes up a run as it is stored, and lets happen to it what waited for that. One in memory stays as it is."""
        run = execution.run.id
        waiting = self.missing.pop(run, [])
        if run not in self._memory.runs and self._shards.owns(run):
            self._memory.keep(run, Held(execution, number, parked=parked, wake=wake, time=time))
            waiting.insert(0, Happening(run, Recovered()))
            reached("after_load")
        # Before what has queued since, for that came later; and together, or the run could be parked again in between.
        self._happenings.extendleft(reversed(waiting))
        self._wake.set()

    def settle(self, run: str, whole: Whole | None) -> None:
        """Says that a run cannot be taken up, because it has ended or there is none."""
        self._memory.end_attempts(run)
        for happening in self.missing.pop(run, []):
            happening.answer(whole)
        self._note_idle()

    def refuse(self, run: str, error: Exception) -> None:
        """Says that a run cannot be taken up now; what did not ask for an answer stays and waits for it."""
        waiting = self.missing.get(run, [])
        for happening in waiting:
            happening.refuse(error)
        if run in self.missing:
            self.missing[run] = [happening for happening in waiting if happening.reply is None]

    def give_up(self, run: str, error: Exception) -> None:
        """Says that a run cannot be taken up at all. It stays as it is stored."""
        for happening in self.missing.pop(run, []):
            happening.refuse(error)
        self._note_idle()

    def drop(self, shards: Collection[int]) -> None:
        """Forgets the runs of shards that are no longer this replica's. The calls under way go on; the next owner asks after them."""
        for run in [run for run in (*self._memory.runs, *self._memory.with_attempts()) if shard_of(run) in shards]:
            self._release.leave(run)
        for share in self._open.without([run for run in self._open.shares if shard_of(run) in shards]):
            for happening in share.happenings:
                happening.refuse(ElsewhereError(happening.run))
        for run in [run for run in self.missing if shard_of(run) in shards]:
            for happening in self.missing.pop(run):
                happening.refuse(ElsewhereError(run))
        self._note_idle()
        self._watchers.look_again()

    def try_again(self, happenings: Sequence[Happening], runs: Iterable[str]) -> None:
        """Takes runs up again as they are stored, and lets happen to them again what could not be stored."""
        self._happenings.extendleft(reversed(happenings))
        self.want(runs)
        self._wake.set()

    def refuse_all(self, error: ParadeError) -> None:
        """Tells everybody who waits for the writer that whether their wish is stored is not known. What is not decided on is dropped."""
        decided = (one for batch in (self._closed, self._open) for share in batch.shares.values() for one in share.happenings)
        for happening in (*decided, *self._happenings):
            happening.refuse(error)
        self._happenings = deque(one for one in self._happenings if one.reply is None)

    def busy(self) -> set[int]:
        """Returns the shards in whose runs an attempt is under way."""
        return {shard_of(run) for run in self._memory.with_attempts()}

    def end(self) -> None:
        """Rings no more, because the process ends."""
        self.timers.end()

    async def written(self) -> None:
        """Returns once nothing waits to be written."""
        await self._idle.wait()

    async def lead(self, carrier: Carrier) -> None:
        """Writes for as long as the process lives.

        Args:
            carrier: Is given, after each commit, what follows; for each run in its order.
        """
        self._release.carrier = carrier
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._decide_on_all())
                both.create_task(self._commit_all())
        finally:
            self._stopped = True
            self.refuse_all(ParadeError(Reason.UNAVAILABLE, STOPPED))
            for run in self.missing:
                self.refuse(run, ParadeError(Reason.UNAVAILABLE, STOPPED))

    async def _decide_on_all(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            if self._decide_on_some():
                self._wake.set()
                await asyncio.sleep(0)
            self._note_idle()

    async def _commit_all(self) -> None:
        while True:
            await self._decided.wait()
            self._decided.clear()
            batch, self._open = self._open, Together()
            now = self._clock.now()
            for share in batch.shares.values():
                self._park_where_it_only_waits(share, now)
            self._closed = batch
            await self._committer.commit(batch)
            self._closed = Together()
            self._wake.set()

    async def _ask(self, happening: Happening, namespace: str) -> Whole | None:
        if self._stopped:
            raise ParadeError(Reason.UNAVAILABLE, STOPPED)  # nobody would ever answer
        if not self._room.enter(namespace, MAX_WAITING, len(self._happenings)):
            raise ParadeError(Reason.NO_CAPACITY, "the scheduler has too much to write; try again in a moment")
        try:
            happening.reply = asyncio.get_running_loop().create_future()
            self._add(happening)
            return await happening.reply
        finally:
            self._room.leave(namespace)

    def _add(self, happening: Happening) -> None:
        self._happenings.append(happening)
        self._idle.clear()
        self._wake.set()

    def _note_idle(self) -> None:
        if not (self._happenings or self.missing or self._open.shares or self._closed.shares):
            self._idle.set()

    def _decide_on_some(self) -> bool:
        """Decides on some of what has queued, and returns whether there is more that can be decided on now."""
        now = self._clock.now()
        happenings, closed = self._happenings, self._closed.shares
        for _ in range(TURN):
            if not happenings or happenings[0].run in closed or self._open.size >= MAX_BATCH:
                return False
            happening = happenings.popleft()
            held = self._memory.runs.get(happening.run)
            if held is None:
                held = self._begun(happening)
            elif happening.new is not None:
                happening.answer(None)  # it has begun already
                continue
            if held is not None:
                self._decide(self._open, held, happening, now)
                self._decided.set()
        return True

    def _begun(self, happening: Happening) -> Held | None:
        """Returns a run that begins with this; None where the run has to be loaded first, or is not this replica's."""
        run = happening.run
        if not self._shards.owns(run):
            happening.refuse(ElsewhereError(run))
            self._memory.end_attempt(happening)
        elif happening.new is not None:
            return self._memory.keep(run, Held(happening.new))
        else:
            self.missing.setdefault(run, []).append(happening)
            self.wanted.set()
        return None

    def _decide(self, batch: Together, held: Held, happening: Happening, now: datetime) -> None:
        share = batch.share(held, is_new=happening.new is not None)
        share.happenings.append(happening)
        batch.size += 1
        if happening.occurrence is None:
            return
        if held.time is not None and held.time > now:
            now = held.time  # the time of day was set back
        held.time = now
        before = held.execution.run
        try:
            decisions = self._decider.decide(held.execution, happening.occurrence, now)
        except Exception as error:  # noqa: BLE001  # a fault of ours in one run must not end all others
            self._log.error("run could not be decided on", run=happening.run, occurrence=repr(happening.occurrence), exception=error)
            self._break_off(batch, happening)
            return
        share.add(happening, before, decisions)
        if isinstance(happening.occurrence, Recovered):
            share.unwanted += self._memory.unwanted(share)

    def _break_off(self, batch: Together, happening: Happening) -> None:
        """Leaves a run as it is stored, because the decider failed half-way. What else happened to it is tried on its own."""
        error = ParadeError(Reason.INTERNAL, "the scheduler could not decide what follows; its log says why")
        for share in batch.without([happening.run]):
            self._memory.forget(happening.run)
            broken = [happening]
            if isinstance(happening.occurrence, Recovered):
                # What waited for the run to be loaded is next, and would have it loaded and fail again for ever.
                while self._happenings and self._happenings[0].run == happening.run:
                    broken.append(self._happenings.popleft())
            for one in broken:
                self._memory.end_attempt(one)
                one.refuse(error)
            self._happenings.extend(one for one in share.happenings if one is not happening and not isinstance(one.occurrence, Recovered))
            if not share.is_new and self._memory.has_few_faults(happening.run):
                self.want([happening.run])

    def _park_where_it_only_waits(self, share: Share, now: datetime) -> None:
        held = share.held
        execution = held.execution
        if not execution.idle or execution.ended or not share.decisions:
            return
        wake = execution.sleeping_until()
        if wake is not None and (wake - (held.time or now)).total_seconds() <= PARK_AFTER:
            return
        share.leaves = True
        if share.change is not None or not held.parked or held.wake != wake:
            change = share.written()
            change.row_changed = change.parked = True
            change.wake = wake
        reached("before_park")
