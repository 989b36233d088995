"""Keeps a session open to one of several targets, chosen by chance, and moves from one session to the next without a failed call."""

import asyncio
import random
from collections import OrderedDict
from collections.abc import Sequence

from parade.v1 import session_pb2
from parade.wire.channel import Channel
from parade.wire.errors import ParadeError, Reason
from parade.wire.log import Log
from parade.wire.session.limits import MAX_WAITING
from parade.wire.session.opener import LostError, Receiver, Sent, Waiting
from parade.wire.session.outbox import CALLS, Pace
from parade.wire.session.stream import Session, UnimplementedError

LEAVE_TIMEOUT = 0.25
"""Seconds that the end of a link waits for the acceptor to hear of it."""


class Link:
    """One session at a time to one of several targets.

    It opens at the first call and stays open. Where it is drained, has grown old or there is a newer certificate, new calls go over a new
    session and the calls of the old one finish there.
    """

    def __init__(self, channels: Sequence[Channel], path: str, *, log: Log | None = None, pace: Pace = CALLS) -> None:
        """Makes a link.

        Args:
            channels: The targets; whoever made them closes them.
            path: The method, of `parade.wire.session.methods`.
            log: For what should not happen.
            pace: How far apart its frames leave.
        """
        self._channels = list(channels)
        self._path = path
        self._log = log
        self._pace = pace
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: Waiting = OrderedDict()
        self._current: Session | None = None
        self._sessions: dict[Session, asyncio.Task[None]] = {}
        self._opening: asyncio.Task[None] | None = None
        self._unimplemented = False
        self._closed = False

    @property
    def outstanding(self) -> int:
        """How many calls have no result yet."""
        return len(self._waiting) + sum(len(session.opener.calls) for session in self._sessions)

    @property
    def unimplemented(self) -> bool:
        """Whether the server knows no sessions: it takes each call by itself."""
        return self._unimplemented

    def send(self, call: session_pb2.SessionCall | bytes, receiver: Receiver, deadline: float, window: int = 0) -> Sent:
        """Sends a call.

        Args:
            call: The call without its number, and without its timeout where there is a deadline. As bytes it is a `SessionCall` encoded by
                its sender, without a window.
            receiver: Who hears of it.
            deadline: When it must have ended, in the loop's time; `math.inf` for none.
            window: How many bytes of items may come of a call that is given as bytes; a message has its own.

        Raises:
            ParadeError: NO_CAPACITY, where too many calls wait already; UNAVAILABLE, where the link is closed.
        """
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()
        waiting = self._waiting
        if len(waiting) >= MAX_WAITING:
            raise ParadeError(Reason.NO_CAPACITY, f"{MAX_WAITING:,} calls wait already to be sent")
        if self._closed:
            raise ParadeError(Reason.UNAVAILABLE, "the link is closed")
        sent = Sent(call, receiver, deadline, waiting, loop, window)
        waiting[sent] = None
        current = self._current
        if current is None:
            self._open()
        elif current.outbox.ready:
            pass  # the writer has been woken, and takes this one along
        elif not current.opener.calls and current.renewed():
            # With no call on it there is nothing that could be broken by leaving the old certificate first.
            self._replace(current)
        else:
            current.outbox.wake()
        return sent

    async def close(self, grace: float = 0.0, *, cancel: bool = True) -> None:
        """Ends the session: at once, or when its calls have ended within `grace` seconds. Calls that are left are lost.

        Args:
            grace: Seconds that calls may still take.
            cancel: Whether calls that are left are cancelled. Otherwise the acceptor finds that this side went away, as it does where the
                process is killed.
        """
        self._closed = True
        loop = asyncio.get_running_loop()
        until = loop.time() + grace
        while self.outstanding and loop.time() < until:  # noqa: ASYNC110  # telling of every end would cost each call, and this happens once
            await asyncio.sleep(0.005)
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.gather(self._opening, return_exceptions=True)
        closed = ParadeError(Reason.UNAVAILABLE, "the link was closed")
        self._lose_waiting(closed)
        tasks = list(self._sessions.values())
        if tasks and cancel:
            for session in self._sessions:
                session.leave()
            await asyncio.wait(tasks, timeout=LEAVE_TIMEOUT)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _open(self, after: Session | None = None) -> None:
        if self._opening is None and not self._closed:
            self._opening = asyncio.create_task(self._opened(after))

    def _replace(self, session: Session) -> None:
        """Has a new session take the place of `session`."""
        if session is not self._current:
            if self._current is not None:
                self._current.wake()
            elif self._waiting:
                self._open(session)
            return
        if session.opener.drained or session.idle:
            # It takes no more calls: they wait for the new session.
            self._current = None
            session.retire()
            if self._waiting:
                self._open(session)
        else:
            self._open(session)

    async def _opened(self, after: Session | None) -> None:
        """Opens a session to the first target that takes one, in an order made by chance."""
        channels = random.sample(self._channels, len(self._channels))
        if after is not None:
            # Where it was drained the others come first; otherwise it is as good as any.
            channels.sort(key=lambda channel: channel is after.channel)
        failure: ParadeError = ParadeError(Reason.UNAVAILABLE, "there is nobody to call")
        unimplemented = False
        try:
            for channel in channels:
                session = Session(channel, self._path, self._waiting, self._replace, self._log, self._pace)
                try:
                    await session.open()
                except UnimplementedError as error:
                    unimplemented = True
                    failure = ParadeError(Reason.UNAVAILABLE, str(error))
                except ParadeError as error:
                    failure = error
                except Exception as error:  # noqa: BLE001  # calls wait for this: they must hear of it, whatever happened
                    failure = ParadeError(Reason.INTERNAL, f"{channel.peer} could not be called: {type(error).__name__}")
                    if self._log is not None:
                        self._log.error("session failed unexpectedly", peer=channel.peer, exception=error)
                else:
                    self._unimplemented = False
                    self._take(session)
                    return
        finally:
            self._opening = None
        self._unimplemented = unimplemented
        if self._current is None:
            self._lose_waiting(failure)

    def _take(self, session: Session) -> None:
        old, self._current = self._current, session
        if old is not None:
            old.retire()
        self._sessions[session] = asyncio.create_task(self._run(session))

    async def _run(self, session: Session) -> None:
        failure: ParadeError | None = ParadeError(Reason.UNAVAILABLE, "the link was closed")
        try:
            failure = await session.run()
        except Exception as error:  # noqa: BLE001  # its calls must hear that they are lost, whatever happened
            failure = ParadeError(Reason.INTERNAL, "the session failed unexpectedly")
            if self._log is not None:
                self._log.error("session failed unexpectedly", peer=session.channel.peer, exception=error)
        finally:
            self._sessions.pop(session, None)
            if self._current is session:
                self._current = None
            if failure is not None:
                session.lose(failure)
        if failure is not None and self._log is not None:
            self._log.info("session lost", peer=session.channel.peer, reason=failure.reason.value, message=failure.message)
        if self._waiting and self._current is None:
            self._open(session)

    def _lose_waiting(self, failure: ParadeError) -> None:
        lost = list(self._waiting)
        self._waiting.clear()  # first, for a receiver may send again at once
        for sent in lost:
            try:
                sent.receiver.lost(LostError(failure.message, sent=False, reason=failure.reason))
            except Exception as error:  # noqa: BLE001  # one receiver must not keep the others from hearing
                asyncio.get_running_loop().call_exception_handler({"message": "a receiver failed", "exception": error})
