"""One started call while this dispatcher makes it: what the engine says of it becomes what is written of it."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Final, Protocol

from parade.wire.errors import ParadeError, Reason
from parade_dispatcher.changes import NOT_CANCELLED, CallState, Given, SaveCall, StartedCall
from parade_dispatcher.journal import Journal
from parade_dispatcher.model import Answer, Content, Progress, Request, Timing
from parade_dispatcher.ports import Later, Now, Reply

WINDOW: Final = 256 * 1024
"""Bytes of items that may be on their way into the database."""
MOST_ITEM_BYTES: Final = 16 * 1024 * 1024
"""Bytes that all items of a started call may have together."""
PROGRESS_INTERVAL: Final = 1.0
"""Seconds between two notes of progress that are written of one call."""
FIRST_PAUSE: Final = 0.25
LONGEST_PAUSE: Final = 5.0
"""Seconds until a call that nothing can take now is tried again."""
LAST_TRY: Final = 0.02
"""Seconds before its deadline at which such a call is tried for the last time."""

_NOT_NOW: Final = frozenset({Reason.NO_CAPACITY, Reason.UNAVAILABLE})


class Job(Protocol):
    """A call at the engine."""

    def cancel(self) -> None:
        """Asks for its end."""
        ...

    def grant(self, size: int) -> None:
        """Makes room for more items."""
        ...


class Engine(Protocol):
    """What makes calls: `parade_dispatcher.engine.Engine`."""

    def begin(self, request: Request, reply: Reply) -> Job:
        """Makes a call."""
        ...


class Running:
    """A started call that this dispatcher makes. To the engine it is who asked."""

    def __init__(
        self,
        call: StartedCall,
        engine: Engine,
        journal: Journal,
        now: Now,
        later: Later,
        time: Callable[[], datetime],
        room: Callable[[Content], int],
        over: "Callable[[Running], None]",
    ) -> None:
        """Takes its parts.

        Args:
            call: The call, as it is stored.
            engine: Makes it.
            journal: Writes what becomes of it.
            now: The time by the event loop's clock.
            later: Calls back after some seconds.
            time: The time of day.
            room: Returns how much of a window an item takes.
            over: Is told when its end is stored, or when it is another dispatcher's.
        """
        self.call = call
        self.waiting: list[Callable[[], None]] = []
        """Who is to hear of news that are stored."""
        self._engine = engine
        self._journal = journal
        self._now = now
        self._later = later
        self._time = time
        self._room = room
        self._over = over
        self._job: Job | None = None
        self._is_made = False
        """Whether the engine has it."""
        self._redelivered = False
        self._left = False
        """Whether nothing of it is to be written any more."""
        self._pause = FIRST_PAUSE
        self._items: list[Content] = []
        self._writing_items = False
        self._taken = 0
        """The position of the next item."""
        self._bytes = 0
        self._progress_due = 0.0
        self._failure: ParadeError | None = None

    def begin(self, *, redelivered: bool = False) -> None:
        """Makes the call.

        Args:
            redelivered: Whether it may have been made before.
        """
        self._redelivered = self._redelivered or redelivered
        if self._left or self.call.ended:
            return
        if self.call.cancel_requested and not self._redelivered:
            self._end(CallState.CANCELLED, error=ParadeError(Reason.CANCELLED, "the call was cancelled before it was made"))
            return
        remaining = max(0.001, (self.call.deadline - self._time()).total_seconds())
        request = replace(self.call.request, timeout=remaining, window=WINDOW, call_id=self.call.id, redelivered=self._redelivered)
        self._is_made = True
        job = self._engine.begin(request, self)
        if self._is_made:  # the engine has not said already what came of it
            self._job = job
            if self.call.cancel_requested:
                job.cancel()

    def cancel(self) -> None:
        """Ends the call."""
        call = self.call
        if call.ended or (call.cancel_requested and self._job is not None and call.cancellation != NOT_CANCELLED):
            return
        call.cancel_requested = True
        if call.cancellation == NOT_CANCELLED:
            call.cancellation = "REQUESTED"
        if self._job is not None:
            self._job.cancel()
        elif not self._redelivered or call.effect.repeatable:  # of an effect that may have run the outcome is asked for first
            call.cancellation = "STOPPED"
            self._end(CallState.CANCELLED, error=ParadeError(Reason.CANCELLED, "the call was cancelled while it waited for an instance"))

    def leave(self) -> None:
        """Writes no more of it: it is another dispatcher's. It runs on where it runs, for an instance may be asked for its outcome."""
        if not self._left:
            self._left = True
            self._tell()
            self._over(self)

    def end(self, error: ParadeError) -> None:
        """Ends the call without making it."""
        state = CallState.CANCELLED if error.reason is Reason.CANCELLED else CallState.FAILED
        self._end(state, error=error)

    # ---- what the engine says

    def answered(self, answer: Answer) -> None:
        """Takes the result."""
        self.call.instance_id = answer.instance_id or self.call.instance_id
        self._end(CallState.SUCCEEDED, result=answer.result, timing=answer.timing)

    def failed(self, error: ParadeError, timing: Timing) -> None:
        """Takes the failure. A call that nothing can take now waits; it has been started, and nobody is there to start it again."""
        call = self.call
        self._job, self._is_made = None, False
        if self._failure is None and error.reason in _NOT_NOW and not call.cancel_requested and not self._taken:
            pause, self._pause = self._pause, min(self._pause * 2, LONGEST_PAUSE)
            remaining = (call.deadline - self._time()).total_seconds()
            if remaining > 2 * LAST_TRY:
                call.state = CallState.QUEUED
                self._later(min(pause, remaining - LAST_TRY), self.begin)
                return
        cancellation = error.metadata.get("cancellation", "")
        if cancellation and call.cancel_requested:
            call.cancellation = cancellation
        call.instance_id = error.metadata.get("instance", "") or call.instance_id
        state = CallState.CANCELLED if error.reason is Reason.CANCELLED and self._failure is None else CallState.FAILED
        self._end(state, error=self._failure or error, timing=timing)

    def assigned(self, call_id: str, instance_id: str) -> None:  # noqa: ARG002 - the port's signature
        """Takes down which instance has it."""
        call = self.call
        call.state, call.instance_id, call.attempts = CallState.RUNNING, instance_id, call.attempts + 1
        self._save()

    def progressed(self, progress: Progress) -> None:
        """Takes down how far it has come, once in a while."""
        self.call.progress = progress
        now = self._now()
        if now >= self._progress_due:
            self._progress_due = now + PROGRESS_INTERVAL
            self._save()
        elif self._progress_due - now <= PROGRESS_INTERVAL:
            self._later(self._progress_due - now, self._save)
            self._progress_due += PROGRESS_INTERVAL  # until then there is one to come, which writes the newest

    def item(self, value: Content) -> None:
        """Takes an item, which is stored before there is room for another."""
        if self._failure is not None or self._left:
            return
        self._bytes += self._room(value)
        if self._bytes > MOST_ITEM_BYTES:
            message = (
                f"the items of a started call have at most {MOST_ITEM_BYTES // 2**20} MiB together; call the function as a stream instead"
            )
            self._failure = ParadeError(
                Reason.AGENT_ERROR, message, metadata={"function": self.call.request.full_name, "call_id": self.call.id}
            )
            if self._job is not None:
                self._job.cancel()
            return
        self._items.append(value)
        self._write_items()

    def cancelling(self, state: str) -> None:
        """Takes down how far the cancellation has come."""
        if self.call.cancel_requested:
            self.call.cancellation = state
            self._save()

    # ---- what is written

    def _save(self) -> None:
        if not self._left and not self.call.ended:
            self._journal.add(SaveCall(replace(self.call)), self._saved, urgent=False)

    def _saved(self, given: Given | ParadeError) -> None:
        if given is False and not self.call.ended:
            self.leave()

    def _write_items(self) -> None:
        if self._writing_items or not self._items:
            return
        self._writing_items = True
        items, self._items = self._items, []
        first, self._taken = self._taken, self._taken + len(items)

        def stored(given: Given | ParadeError) -> None:
            self._writing_items = False
            if given is not True:
                self._saved(given)
                return
            self.call.item_count = first + len(items)
            self._tell()
            if self._job is not None:
                self._job.grant(sum(self._room(item) for item in items))
            if not self.call.ended:
                self._write_items()

        self._journal.add(SaveCall(replace(self.call), items, first), stored, must=True)

    def _end(
        self, state: CallState, *, result: Content | None = None, error: ParadeError | None = None, timing: Timing | None = None
    ) -> None:
        call = self.call
        if call.ended or self._left:
            return
        self._job, self._is_made = None, False
        call.state, call.result, call.error, call.timing, call.end_time = state, result, error, timing, self._time()
        items, self._items = self._items, []
        self._journal.add(SaveCall(call, items, self._taken), self._ended, must=True)

    def _ended(self, given: Given | ParadeError) -> None:
        if isinstance(given, ParadeError) and self.call.error is not given:
            # What it ended with cannot be stored. It must not stay open for that.
            self.call.state, self.call.result, self.call.error, self.call.progress = CallState.FAILED, None, given, None
            self._journal.add(SaveCall(replace(self.call)), self._ended, must=True)
            return
        self._left = True
        self._tell()
        self._over(self)

    def _tell(self) -> None:
        waiting, self.waiting = self.waiting, []
        for told in waiting:
            told()
