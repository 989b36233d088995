"""The calls that outlive their callers: they are started, looked at, waited for and cancelled, at whichever dispatcher somebody asks.

A call is made by the dispatcher that owns it. Another one that is asked follows it through the database; a wish to cancel it goes the same
way. Where a dispatcher has ended, the first that notices owns its calls, and makes them again where that does no harm; of effects the
ledger and the instance know more. Whatever happens, a call ends.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Final, Protocol

from parade.wire.errors import ParadeError, Reason
from parade.wire.log import Log
from parade_chassis.clock import Clock
from parade_chassis.ids import Ids
from parade_dispatcher import running
from parade_dispatcher.changes import AddCall, Beat, CallFilter, Given, Key, RequestCancel, Sign, Standing, StartedCall
from parade_dispatcher.follow import Follower
from parade_dispatcher.journal import Journal
from parade_dispatcher.leases import BEAT_INTERVAL, LEASE, Leases
from parade_dispatcher.ledger import Ledger
from parade_dispatcher.model import Content, Function, Request
from parade_dispatcher.ports import Later, Now
from parade_dispatcher.running import Running
from parade_dispatcher.storage import Storage

LOOK_INTERVAL: Final = 0.5
"""Seconds between two looks for calls that are to be cancelled or have lost their dispatcher."""
RETENTION: Final = timedelta(days=1)
"""How long effects and started calls are kept that have ended."""
DELETE_INTERVAL: Final = 60.0
DELETE_PAUSE: Final = 0.05
"""Seconds between two looks for what is to be deleted, and between two parts of it."""
PICTURE_TIMEOUT: Final = 5.0
"""Seconds that a call may wait to be started until it is known who exists."""
LATE_ANSWER: Final = timedelta(seconds=5)
"""How long an instance may still be asked for the outcome of an effect whose deadline passed while its dispatcher had ended."""
LARGEST_ITEMS: Final = 1024 * 1024
"""Bytes of items that one answer holds."""


class Engine(running.Engine, Protocol):
    """What makes calls, and knows what can be called."""

    def check(self, request: Request) -> tuple[Function, float]:
        """Returns the function that is asked for, and the seconds that the call may wait for an approval at most.

        Raises:
            ParadeError: UNAVAILABLE where it is not known yet who exists, otherwise why the call cannot be made.
        """
        ...


class StartedCalls:
    """The started calls, as one dispatcher sees them."""

    def __init__(
        self,
        engine: Engine,
        storage: Storage,
        journal: Journal,
        ledger: Ledger,
        leases: Leases,
        follower: Follower[Standing],
        clock: Clock,
        now: Now,
        later: Later,
        ids: Ids,
        log: Log,
        room: Callable[[Content], int],
    ) -> None:
        """Takes its parts; `room` returns how much of a window an item takes."""
        self._engine = engine
        self._storage = storage
        self._journal = journal
        self._ledger = ledger
        self._leases = leases
        self._follower = follower
        self._clock = clock
        self._now = now
        self._later = later
        self._ids = ids
        self._log = log
        self._room = room
        self._running: dict[Key, Running] = {}
        self._last_beat = 0.0
        self._looked = False
        self._unsure = False
        """Whether a call may be stored as this dispatcher's own that it does not make."""
        self._delete_due = 0.0
        self._closing: asyncio.Event | None = None
        """Set when the last call has ended, once they are waited for."""

    async def start(self, request: Request) -> StartedCall:
        """Starts a call, and returns it once it is stored.

        Raises:
            ParadeError: UNKNOWN_FUNCTION, INVALID_ARGUMENTS; ALREADY_EXISTS where its id is that of another call; NO_CAPACITY or
                UNAVAILABLE where it cannot be stored.
        """
        function, wait = await self._checked(request)
        if not request.call_id:
            request.call_id = self._ids.new("call")
        limit = function.timeout + wait if request.timeout is None else min(request.timeout, function.timeout + wait)
        now = self._clock.now()
        call = StartedCall(request.call_id, request, function.effect, now, now + timedelta(seconds=limit), owner=self._storage.id)
        stored: asyncio.Future[StartedCall] = asyncio.get_running_loop().create_future()
        # What is stored is made, also where who asked has gone away meanwhile.
        self._journal.add(AddCall(call), partial(self._stored, call, stored))
        return await stored

    async def get(self, key: Key) -> StartedCall:
        """Returns a call.

        Raises:
            ParadeError: NOT_FOUND.
        """
        call = await (await self._storage.store()).call(key)
        if call is None:
            raise ParadeError(
                Reason.NOT_FOUND, f"there is no started call {key[1]!r} in namespace {key[0]}; calls are kept for a day after their end"
            )
        return call

    async def items(self, key: Key, after: int) -> list[Content]:
        """Returns the items of a call from position `after` on, as many as fit into one answer."""
        return await (await self._storage.store()).items(key, after, LARGEST_ITEMS)

    async def wait(self, key: Key, items_after: int | None, timeout: float) -> StartedCall:
        """Waits until a call has ended, or has more items than `items_after`, or until the time has passed, and returns it as it then is.

        Raises:
            ParadeError: NOT_FOUND.
        """
        deadline = self._now() + timeout
        while True:
            call = await self.get(key)
            if call.ended or (items_after is not None and call.item_count > items_after) or self._now() >= deadline:
                return call
            await self._news(call, items_after, deadline)

    async def cancel(self, key: Key) -> StartedCall:
        """Cancels a call, and returns it as it then is.

        Raises:
            ParadeError: NOT_FOUND; NO_CAPACITY or UNAVAILABLE where the wish cannot be stored.
        """
        call = await self.get(key)
        if call.ended:
            return call
        await self._journal.added(RequestCancel(key))
        own = self._running.get(key)
        if own is not None:
            own.cancel()
        return await self.get(key)

    async def find(self, wanted: CallFilter, before: tuple[datetime, str] | None, limit: int) -> list[StartedCall]:
        """Returns calls without their values, newest first."""
        return await (await self._storage.store()).calls(wanted, before, limit)

    async def keep(self) -> None:
        """Shows that this dispatcher lives, looks which others do, and sees to it that no call is forgotten. Runs for ever.

        It looks no more once it is closing: what it leaves is for others, and must not be taken up here again.
        """
        failing = False
        while True:
            try:
                if self._closing is None:
                    await self._look()
                failing = False
            except ParadeError as error:
                if not failing:
                    self._log.warning("the state of started calls cannot be read", error=error.message)
                failing = True
            await self._clock.sleep(LOOK_INTERVAL)

    async def close(self, limit: float) -> None:
        """Waits up to `limit` seconds for the calls that run, and leaves the rest to others, or to the next start."""
        self._closing = asyncio.Event()
        if self._running:
            try:
                async with asyncio.timeout(limit):
                    await self._closing.wait()
            except TimeoutError:
                pass
        for own in list(self._running.values()):
            own.leave()

    async def _checked(self, request: Request) -> tuple[Function, float]:
        deadline = self._now() + PICTURE_TIMEOUT
        while True:
            try:
                return self._engine.check(request)
            except ParadeError as error:
                if error.reason is not Reason.UNAVAILABLE or self._now() >= deadline:
                    raise
            await asyncio.sleep(0.05)

    def _stored(self, call: StartedCall, stored: "asyncio.Future[StartedCall]", given: Given | ParadeError) -> None:
        outcome: StartedCall | ParadeError = call
        if isinstance(given, ParadeError):
            self._unsure = True
            outcome = given
        elif isinstance(given, StartedCall):
            outcome = given if _same(call.request, given.request) else _taken(call)
            if given.owner == self._storage.id and not given.ended and given.key not in self._running:
                self._unsure = True
        elif call.key not in self._running:
            self._run(call)
        if stored.done():
            return
        if isinstance(outcome, ParadeError):
            stored.set_exception(outcome)
        else:
            stored.set_result(outcome)

    def _run(self, call: StartedCall, *, redelivered: bool = False) -> Running:
        parts = (self._engine, self._journal, self._now, self._later, self._clock.now, self._room, self._over)
        own = self._running[call.key] = Running(call, *parts)
        # In a turn of its own: what the engine says at once must not come before the caller has its answer ready.
        self._later(0, partial(own.begin, redelivered=redelivered))
        return own

    def _over(self, own: Running) -> None:
        if self._running.get(own.call.key) is own:
            del self._running[own.call.key]
        if self._closing is not None and not self._running:
            self._closing.set()

    async def _news(self, call: StartedCall, items_after: int | None, deadline: float) -> None:
        """Waits until there may be news of a call, or until the deadline."""
        news = asyncio.Event()

        def seen(standing: Standing | None) -> None:
            if standing is None or standing.ended or (items_after is not None and standing.item_count > items_after):
                news.set()

        own = self._running.get(call.key)
        if own is not None:
            own.waiting.append(news.set)
        else:
            self._follower.follow(call.key, seen)
        try:
            async with asyncio.timeout(max(0.0, deadline - self._now())):
                await news.wait()
        except TimeoutError:
            pass
        finally:
            if own is None:
                self._follower.leave(call.key, seen)
            elif news.set in own.waiting:
                own.waiting.remove(news.set)

    async def _look(self) -> None:
        if not self._storage.opened and not self._storage.has_open_calls():
            return
        store = await self._storage.store()
        if self._running:
            for key in await store.to_cancel():
                own = self._running.get(key)
                if own is not None:
                    own.cancel()
        now = self._now()
        if now - self._last_beat >= BEAT_INTERVAL - LOOK_INTERVAL / 2:
            await self._look_around(now)
        if now >= self._delete_due:
            self._delete_due = now + DELETE_INTERVAL
            self._ledger.forget()
            before = self._clock.now() - RETENTION
            while await store.delete_ended(before) or await store.approvals.delete_expired(before):
                await self._clock.sleep(DELETE_PAUSE)

    async def _look_around(self, now: float) -> None:
        store = await self._storage.store()
        if self._running or self._ledger.owned:
            await self._journal.added(Beat())
            late, self._last_beat = self._now() - self._last_beat > LEASE, self._now()
            if late or self._unsure:
                await self._compare()
        else:
            self._last_beat = now
        signs, orphans = await store.signs()
        others = [sign for sign in signs if sign.id != self._storage.id]
        dead = self._leases.ended(others)
        if not self._looked:
            # This is the replica's only process: what had its name before has ended.
            dead += [sign for sign in others if sign.name == self._storage.name and sign not in dead]
            self._looked = True
        if dead:
            await self._bury(dead)
        if dead or orphans:
            await self._adopt()

    async def _bury(self, dead: list[Sign]) -> None:
        self._log.info("dispatchers have ended", dispatchers=" ".join(sign.name for sign in dead))
        await (await self._storage.store()).bury(dead)

    async def _adopt(self) -> None:
        store = await self._storage.store()
        while adopted := await store.adopt():
            self._log.info("calls adopted", count=len(adopted))
            for call in adopted:
                self._take_up(call)

    async def _compare(self) -> None:
        """Compares what this dispatcher makes with what it owns: it may have been taken for dead, or have taken a call for not stored."""
        self._unsure = False
        before = set(self._running)
        stored = {call.key: call for call in await (await self._storage.store()).own()}
        for key in before - stored.keys():
            own = self._running.get(key)
            if own is not None and not own.call.ended:
                own.leave()
        for key, call in stored.items():
            if key not in self._running:
                self._take_up(call)

    def _take_up(self, call: StartedCall) -> None:
        """Goes on with a call whose dispatcher has ended."""
        if self._closing is not None:
            return
        remaining = call.deadline - self._clock.now()
        if not call.effect.repeatable:
            # It is not made again: the ledger and its instance are asked what became of it.
            call.deadline += max(LATE_ANSWER - remaining, timedelta())
            own = self._run(call, redelivered=True)
            return
        own = self._run(call, redelivered=True)
        ended = "the dispatcher that made the call has ended"
        if call.cancel_requested:
            call.cancellation = "STOPPED"
            own.end(ParadeError(Reason.CANCELLED, f"the call was cancelled, and {ended}"))
        elif call.item_count:
            own.end(ParadeError(Reason.AGENT_LOST, f"{ended} after items were given; start the call anew", metadata=_facts(call)))
        elif remaining <= timedelta():
            own.end(ParadeError(Reason.DEADLINE_EXCEEDED, f"{ended}, and its time has passed", metadata=_facts(call)))


def _same(request: Request, stored: Request) -> bool:
    return all(getattr(request, name) == getattr(stored, name) for name in ("agent", "function", "arguments", "idempotency_key"))


def _taken(call: StartedCall) -> ParadeError:
    message = f"the call id {call.id!r} was used for another function or other arguments"
    return ParadeError(Reason.ALREADY_EXISTS, message, metadata=_facts(call))


def _facts(call: StartedCall) -> dict[str, str]:
    return {"function": call.request.full_name, "call_id": call.id}
