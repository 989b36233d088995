"""Answers sessions: each stream carries one. It knows who may resume which session and for how long; of calls its handler knows."""

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator

from parade.v1 import session_pb2
from parade.wire.errors import ParadeError, Reason
from parade.wire.log import Log
from parade.wire.session.accepted import Accepted, Exchange, Handler
from parade.wire.session.limits import (
    ACCEPTOR_BROKEN_TICKS,
    ACCEPTOR_PING_TICKS,
    HELLO_TIMEOUT,
    KEPT,
    MAX_AGE,
    MAX_ARGUMENT_BYTES,
    MAX_CALLS,
    TICK,
)
from parade.wire.session.outbox import CALLS, Outbox, Pace
from parade.wire.session.violations import check_first, check_opener_hello, violation

__all__ = ["Acceptor", "Exchange", "Handler"]

PAUSE = 0.01
"""Seconds between two looks at whether there is room to read on, and at whether all calls have ended."""

Frame = session_pb2.SessionFrame


class Acceptor:
    """The sessions of one server."""

    def __init__(
        self, handler: Handler, *, max_calls: int = MAX_CALLS, max_age: float = MAX_AGE, log: Log | None = None, pace: Pace = CALLS
    ) -> None:
        """Makes an acceptor without sessions.

        Args:
            handler: Who answers the calls.
            max_calls: How many calls of one session may be outstanding at once.
            max_age: Seconds after which an opener is asked for another session, give or take a tenth.
            log: For sessions that break the rules.
            pace: How far apart frames leave.
        """
        self._handler = handler
        self._max_calls = max_calls
        self._max_age = max_age
        self._log = log
        self._pace = pace
        self._sessions: dict[str, Accepted] = {}
        self._ages: dict[Accepted, asyncio.TimerHandle] = {}
        self._kept: dict[Accepted, asyncio.TimerHandle] = {}
        """The sessions whose stream broke, and when each ends for good."""
        self._draining = False

    async def serve(self, frames: AsyncIterator[Frame], caller: object, admit: Callable[[], None]) -> AsyncGenerator[bytes]:
        """Serves one stream.

        Args:
            frames: What arrives on it.
            caller: Who opened it; equal for whoever may resume its session.
            admit: Called for every frame, and every `TICK` while calls are under way; raises `ParadeError` where the caller's identity has
                expired or was revoked.

        Yields:
            The frames that are to be sent on it, encoded (see `serving`).

        Raises:
            ParadeError: INVALID_ARGUMENTS, where the opener breaks the rules; UNAVAILABLE, where this server drains; what `admit` raises.
        """
        try:
            async with asyncio.timeout(HELLO_TIMEOUT):
                first = await anext(frames, None)
        except TimeoutError as error:
            raise violation(f"the hello comes within {HELLO_TIMEOUT:.0f} s") from error
        if first is None:
            return
        admit()
        stream = _Stream(frames, admit)
        session, hello = self._entered(first, caller, stream)
        outbox = session.outbox
        try:
            stream.start(session)
            yield hello
            while await outbox.due():
                frame, entries = session.take()
                if frame:
                    outbox.left(entries)
                    yield frame
                    if session.pending():
                        outbox.wake()
        finally:
            stream.stop()
            self._left(session, stream)
        if stream.failure is not None:
            raise stream.failure

    async def drain(self, timeout: float) -> None:
        """Takes no more sessions, tells every opener to go elsewhere, and waits for the calls that run: `timeout` seconds at most."""
        self._draining = True
        for session in self._sessions.values():
            session.drain()
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout
        # Telling of every end would cost each call, and this happens once.
        while loop.time() < until and any(session.known for session in self._sessions.values()):  # noqa: ASYNC110
            await asyncio.sleep(PAUSE)

    def openers(self) -> Iterator[object]:
        """Yields who has opened each session that is not broken off."""
        return (session.caller for session in self._sessions.values() if session not in self._kept)

    def _entered(self, first: Frame, caller: object, stream: "_Stream") -> tuple[Accepted, bytes]:
        hello = check_first(first)
        check_opener_hello(hello)
        session = self._sessions.get(hello.session_id)
        if session is not None and (not hello.resume or session.caller != caller):
            raise violation("hello.session_id is made by chance, and this one is in use")
        resumed = session is not None
        if session is None:
            if self._draining:
                raise ParadeError(Reason.UNAVAILABLE, "this server is shutting down: use another")
            session = self._made(hello.session_id, caller)
        elif session in self._kept:
            self._kept.pop(session).cancel()
        session.outbox.close()
        session.outbox = Outbox(session.pending, session.under_way, asyncio.get_running_loop(), self._pace)
        session.stream = stream
        answer = session.hello(hello, resumed=resumed)
        session.outbox.wake()
        return session, answer

    def _made(self, session_id: str, caller: object) -> Accepted:
        loop = asyncio.get_running_loop()
        session = Accepted(session_id, caller, self._handler, self._max_calls, loop)
        self._sessions[session_id] = session
        age = self._max_age * random.uniform(0.9, 1.1)  # noqa: S311  # spreads the load, hides nothing
        self._ages[session] = loop.call_later(age, session.drain)
        return session

    def _left(self, session: Accepted, stream: "_Stream") -> None:
        """Keeps a session whose stream broke for a while, and ends one that broke the rules or was closed."""
        if session.stream is not stream:
            return  # another stream carries it on
        session.stream = None
        if stream.broken_rules or (stream.finished and not session.known):
            self._ended(session)
            if stream.broken_rules and self._log is not None:
                self._log.warning("session ended", caller=str(session.caller), message=str(stream.failure))
            return
        self._kept[session] = asyncio.get_running_loop().call_later(KEPT, self._ended, session)

    def _ended(self, session: Accepted) -> None:
        for timers in (self._ages, self._kept):
            if session in timers:
                timers.pop(session).cancel()
        del self._sessions[session.session_id]
        session.end()


class _Stream:
    """One stream: reads it, and notices where nothing comes any more."""

    def __init__(self, frames: AsyncIterator[Frame], admit: Callable[[], None]) -> None:
        self._frames = frames
        self._admit = admit
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._heard = True
        self._paused = False
        self._silent = 0
        self.failure: ParadeError | None = None
        self.broken_rules = False
        self.finished = False

    def start(self, session: Accepted) -> None:
        """Begins to read."""
        self._task = asyncio.create_task(self._read(session))

    def stop(self) -> None:
        """Reads no more."""
        if self._task is not None:
            self._task.cancel()
        if self._timer is not None:
            self._timer.cancel()

    async def _read(self, session: Accepted) -> None:
        loop = asyncio.get_running_loop()
        try:
            async for frame in self._frames:
                self._heard = True
                try:
                    self._admit()
                except ParadeError as error:
                    self.failure = error
                    return
                if session.stream is not self:
                    return
                session.received(frame)
                if self._timer is None and session.known:
                    self._timer = loop.call_later(TICK, self._tick, session, loop)
                while session.argument_bytes > MAX_ARGUMENT_BYTES:
                    self._paused = True
                    await asyncio.sleep(PAUSE)
                self._paused = False
            self.finished = True
        except ParadeError as error:  # of a frame that cannot be decoded, or breaks the rules
            self.failure, self.broken_rules = error, True
        except Exception as error:  # noqa: BLE001  # whatever the transport raises, the stream is broken
            self.failure = ParadeError(Reason.UNAVAILABLE, f"the stream broke: {type(error).__name__}")
        finally:
            if session.stream is self:
                session.outbox.close()

    def _tick(self, session: Accepted, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        if not session.known or session.stream is not self:
            return
        try:
            self._admit()
        except ParadeError as error:
            # Between two frames, so that what was taken from the session arrives; its calls go on over a stream with a newer certificate.
            self.failure = error
            session.outbox.close()
            return
        # While we do not read we hear nothing, and the opener gets no answer to its pings: ours tell it that we live.
        self._silent = 0 if self._heard or self._paused else self._silent + 1
        self._heard = False
        if self._silent == ACCEPTOR_BROKEN_TICKS:
            self.failure = ParadeError(Reason.UNAVAILABLE, "nothing was heard of the opener")
            session.outbox.close()
            return
        if self._paused or self._silent >= ACCEPTOR_PING_TICKS:
            session.ping()
        self._timer = loop.call_later(TICK, self._tick, session, loop)
