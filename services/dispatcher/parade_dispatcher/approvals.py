"""The calls that wait for somebody's approval at this dispatcher, and what people say to those of all dispatchers.

An approval is a row in the dispatchers' database. Who resolves it may ask any of them: the one where its call waits looks at the row twice
a second, and at once where it was asked itself. A call that comes again, after a restart or to another dispatcher, finds its approval by
what that binds. Nothing is written, read or run here while no call waits.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, Protocol

from parade.wire.errors import ParadeError, Reason
from parade.wire.log import Log
from parade_chassis.audit import Record
from parade_chassis.clock import Clock
from parade_chassis.policies import Decision
from parade_dispatcher import approval as approving
from parade_dispatcher.approval import Approval, ApprovalFilter, ApprovalState
from parade_dispatcher.model import Progress
from parade_dispatcher.ports import Deadlines

if TYPE_CHECKING:
    from parade_dispatcher.job import Job

LOOK_INTERVAL: Final = 0.5
"""Seconds between two looks for what others have resolved."""
MARGIN: Final = 0.1
"""Seconds before its caller's time is over at which a call ends that nobody has approved, so that the answer arrives."""
MOST_WAITING: Final = 1_000
"""Approvals of one namespace that may wait for somebody. People resolve them one by one."""

GoOn = Callable[[Approval], None]
"""Goes on with a call that has its approval."""


class Book(Protocol):
    """Where approvals are written: `parade_dispatcher.approval_store.ApprovalStore`. What fails there is UNAVAILABLE or NO_CAPACITY."""

    async def ask(self, approvals: Sequence[Approval], most: int, now: datetime) -> dict[str, Approval]:
        """Writes down those that are not there yet, where fewer than `most` wait in their namespace, and returns what then is there."""
        ...

    async def standings(self, ids: Collection[str]) -> dict[str, Approval]:
        """Returns approvals by their ids."""
        ...

    async def find(self, wanted: ApprovalFilter, after: tuple[datetime, str] | None, limit: int, now: datetime) -> list[Approval]:
        """Returns approvals, the oldest first, from the one after `after` on."""
        ...

    async def resolve(self, approval: Approval, record: Record) -> bool:
        """Writes down how an approval was resolved, with the record of it, and returns whether it still waited."""
        ...

    async def withdraw(self, ids: Collection[str], now: datetime) -> None:
        """Ends the wait for approvals that are not wanted any more."""
        ...


class _Waiting:
    """A call that waits."""

    __slots__ = ("_approvals", "approval", "deadline", "go_on", "job")

    def __init__(self, approvals: "Approvals", job: "Job", approval: Approval, deadline: float, go_on: GoOn) -> None:
        self._approvals = approvals
        self.job = job
        self.approval = approval
        self.deadline = deadline
        self.go_on = go_on

    def expired(self) -> None:
        """Hears that the caller waits no longer."""
        self._approvals.expired(self)


class Approvals:
    """The approvals, as one dispatcher sees them."""

    def __init__(self, opened: Callable[[], Awaitable[Book]], clock: Clock, deadlines: Deadlines, log: Log, lifetime: timedelta) -> None:
        """Takes its parts.

        Args:
            opened: Returns where approvals are written, and opens that first where it is not open.
            clock: The time of day.
            deadlines: Ends calls whose callers wait no longer.
            log: Says what cannot be read.
            lifetime: How long an approval can be resolved, and used.
        """
        self._opened = opened
        self._clock = clock
        self._deadlines = deadlines
        self._log = log
        self.lifetime = lifetime.total_seconds()
        """Seconds that one waits at most."""
        self._lifetime = lifetime
        self._asked: list[_Waiting] = []
        """The calls that are not written down yet."""
        self._waiting: list[_Waiting] = []
        """Those that are."""
        self._here: Counter[str] = Counter()
        """How many calls of each namespace wait here, those included that have ended since the last look."""
        self._wake = asyncio.Event()
        self._failing = False

    # ---- for the engine

    def wait(self, job: "Job", demand: Decision, deadline: float, go_on: GoOn) -> None:
        """Lets a call wait for its approval, and ends it where it gets none.

        Args:
            job: The call.
            demand: What the policies say of it.
            deadline: When its caller stops waiting, by the event loop's clock; infinite where it does not.
            go_on: Goes on with it once it is approved; never called from here.
        """
        namespace = job.request.namespace
        if self._here[namespace] >= MOST_WAITING:
            job.refuse(_crowded(namespace))
            return
        self._here[namespace] += 1
        approval = approving.asked(job.request, demand, self._clock.now(), self._lifetime)
        waiting = _Waiting(self, job, approval, deadline - MARGIN, go_on)
        self._asked.append(waiting)
        self._deadlines.add(waiting.deadline, waiting)
        self._wake.set()

    def expired(self, waiting: _Waiting) -> None:
        """Ends a call whose caller waits no longer. Its approval stays, for the same call can come again."""
        if not waiting.job.is_over:
            waiting.job.refuse(approving.required(waiting.approval))

    # ---- for people

    async def find(self, wanted: ApprovalFilter, after: tuple[datetime, str] | None, limit: int) -> list[Approval]:
        """Returns approvals, the oldest first."""
        now = self._clock.now()
        found = await (await self._opened()).find(wanted, after, limit, now)
        return [approval.at(now) for approval in found]

    async def get(self, namespace: str, approval_id: str) -> Approval:
        """Returns an approval.

        Raises:
            ParadeError: NOT_FOUND.
        """
        found = await (await self._opened()).standings([approval_id])
        approval = found.get(approval_id)
        if approval is None or approval.namespace != namespace:
            raise approving.not_found(approval_id, namespace)
        return approval.at(self._clock.now())

    async def resolve(self, approval: Approval, method: str) -> Approval:
        """Writes down how an approval was resolved, and returns it as it then is.

        Args:
            approval: The approval, as `get` returned it, with how it is resolved.
            method: The full name of the method by which that is done.

        Raises:
            ParadeError: FAILED_PRECONDITION where it was resolved otherwise, or its time is over.
        """
        now = self._clock.now()
        resolved = replace(approval, resolve_time=now)
        if await (await self._opened()).resolve(resolved, approving.record(resolved, method, now)):
            self._wake.set()
            return resolved
        stored = await self.get(approval.namespace, approval.id)
        if stored.state is not approval.state:
            raise approving.resolved_otherwise(stored)
        return stored

    # ---- in the background

    async def keep(self) -> None:
        """Writes down what is asked for, and looks what was resolved. Runs for ever."""
        while True:
            if not self._asked and not self._waiting:
                await self._wake.wait()
            try:
                async with asyncio.timeout(LOOK_INTERVAL):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            await self.look()

    async def look(self) -> None:
        """Writes down what is asked for, and looks what was resolved, once."""
        # One whose time is over is written down too: its caller was told of the approval.
        asked, self._asked = [waiting for waiting in self._asked if not waiting.job.is_cancelled], []
        over = [waiting for waiting in self._waiting if waiting.job.is_over]
        self._waiting = [waiting for waiting in self._waiting if not waiting.job.is_over]
        try:
            await self._withdraw(over)
            await self._ask(asked)
            await self._compare()
        except Exception as error:  # noqa: BLE001 - it serves all calls that wait: the fault of one is not the end of all
            known = error if isinstance(error, ParadeError) else _unexpected()
            for waiting in asked:
                if waiting not in self._waiting:
                    self._end(waiting, known)
            if not self._failing:
                self._log.error("the approvals of calls cannot be read or written", error=repr(error), exception=error)
            self._failing = True
        else:
            self._failing = False
        self._here = Counter(waiting.approval.namespace for waiting in (*self._waiting, *self._asked))

    async def _ask(self, asked: Sequence[_Waiting]) -> None:
        if not asked:
            return
        found = await (await self._opened()).ask([waiting.approval for waiting in asked], MOST_WAITING, self._clock.now())
        for waiting in asked:
            written = found.get(waiting.approval.id)
            if written is None:
                self._end(waiting, _crowded(waiting.approval.namespace))
                continue
            is_new = written.state is ApprovalState.PENDING
            waiting.approval = written
            self._waiting.append(waiting)
            if is_new and waiting.job.request.approval_wait and not waiting.job.is_over and waiting.job.request.window:
                note = f"waits for the approval of an {written.approver.label}: {written.id}"
                waiting.job.reply.progressed(Progress(-1.0, note))
        self._settle(found)

    async def _compare(self) -> None:
        if self._waiting:
            ids = {waiting.approval.id for waiting in self._waiting}
            self._settle(await (await self._opened()).standings(ids))

    async def _withdraw(self, over: Sequence[_Waiting]) -> None:
        """Takes back what was asked for calls that were cancelled. A caller that went away may come again, as after its restart."""
        wanted = {waiting.approval.id for waiting in self._waiting}
        cancelled = {waiting.approval.id for waiting in over if waiting.job.is_cancelled and not waiting.job.is_orphan} - wanted
        if cancelled:
            await (await self._opened()).withdraw(cancelled, self._clock.now())

    def _settle(self, found: dict[str, Approval]) -> None:
        now = self._clock.now()
        left: list[_Waiting] = []
        for waiting in self._waiting:
            if waiting.job.is_over:
                left.append(waiting)  # the next look may have to withdraw it
                continue
            approval = found.get(waiting.approval.id, waiting.approval).at(now)
            if approval.state is ApprovalState.APPROVED and now < approval.expire_time:
                self._deadlines.remove(waiting.deadline, waiting)
                asyncio.get_running_loop().call_soon(waiting.go_on, approval)
            elif approval.state is not ApprovalState.PENDING:
                self._end(waiting, approving.refused(approval))
            elif not waiting.job.request.approval_wait:
                self._end(waiting, approving.required(approval))
            else:
                left.append(waiting)
        self._waiting = left

    def _end(self, waiting: _Waiting, error: ParadeError) -> None:
        self._deadlines.remove(waiting.deadline, waiting)
        if not waiting.job.is_over:
            waiting.job.refuse(error)


def _unexpected() -> ParadeError:
    return ParadeError(Reason.INTERNAL, "the dispatcher's database does not take this approval; its log says more")


def _crowded(namespace: str) -> ParadeError:
    message = f"{MOST_WAITING:,} calls of namespace {namespace} wait for an approval already; resolve them: `parade approve`"
    return ParadeError(Reason.NO_CAPACITY, message, metadata={"retry_after": "5"})
