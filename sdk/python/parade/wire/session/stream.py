"""One session of an opener and the stream under it: writes, reads, notices silence, resumes. It chooses no target (see `link`)."""

import asyncio
import secrets
from collections.abc import Callable
from typing import Any

import grpc

from parade.v1 import session_pb2
from parade.wire.channel import Channel
from parade.wire.errors import ParadeError, Reason
from parade.wire.log import Log
from parade.wire.session.limits import (
    ACKNOWLEDGE_AFTER,
    ACKNOWLEDGE_COUNT,
    BROKEN_TICKS,
    OPEN_TIMEOUT,
    PING_TICKS,
    REOPEN_PAUSE,
    TICK,
)
from parade.wire.session.opener import LostError, Opener, Sent, Waiting
from parade.wire.session.outbox import Outbox, Pace
from parade.wire.session.violations import check_first
from parade.wire.status import from_rpc_error

FINAL = frozenset({Reason.INVALID_ARGUMENTS, Reason.PERMISSION_DENIED})
"""Why a stream may end so that there is no point in resuming its session."""


class UnimplementedError(Exception):
    """The server knows no sessions."""


class Session:
    """One session over one channel, for as long as it can be kept."""

    def __init__(
        self, channel: Channel, path: str, waiting: Waiting, attention: Callable[["Session"], None], log: Log | None, pace: Pace
    ) -> None:
        """Makes a session that is not open yet.

        Args:
            channel: Where to.
            path: The method.
            waiting: The calls to take from.
            attention: Called when the session is to be replaced, since it was drained or there is a newer certificate; and when it is
                retired and has calls for another to send.
            log: For what should not happen.
            pace: How far apart its frames leave.
        """
        self._loop = asyncio.get_running_loop()
        self._channel = channel
        self._path = path
        self._attention = attention
        self._log = log
        self.opener = Opener(secrets.token_urlsafe(18), waiting, self._loop, self.wake, log)
        self.outbox = Outbox(self.opener.pending, self.opener.under_way, self._loop, pace)
        """When it writes."""
        self._stream: Any = None
        self._retired = False
        self._look = 0.0
        self._heard = False
        self._silent = 0
        self._ticking: asyncio.TimerHandle | None = None
        self._acknowledging: asyncio.TimerHandle | None = None
        self._ending: asyncio.TimerHandle | None = None
        self._frozen = False

    @property
    def channel(self) -> Channel:
        """Where it goes."""
        return self._channel

    @property
    def idle(self) -> bool:
        """Whether none of its calls is out."""
        return not self.opener.calls

    def renewed(self) -> bool:
        """Whether there is a newer certificate; it looks no more often than every tick, for a look may cost more than a call."""
        now = self._loop.time()
        if now < self._look:
            return False
        self._look = now + TICK
        return self._channel.renewed

    def wake(self) -> None:
        """Says that there is something to write."""
        self.outbox.wake()

    def retire(self) -> None:
        """Takes no more calls, and ends once those that are out have ended."""
        self.opener.taking = False
        self._retired = True
        self.outbox.wake()

    async def open(self) -> None:
        """Opens the first stream.

        Raises:
            ParadeError: It cannot be opened.
            UnimplementedError: The server knows no sessions.
        """
        await self._open(OPEN_TIMEOUT, resume=False)

    async def run(self) -> ParadeError | None:
        """Carries calls until the session has ended: None where it was retired, or why it is lost."""
        try:
            while True:
                error = await self._carry()
                if error is None:
                    return None
                if error.reason in FINAL or (self._retired and self.idle):
                    return error
                failure = await self._reopen(error)
                if failure is not None:
                    return failure
        finally:
            self._stop()

    def leave(self) -> None:
        """Cancels every call that is out, takes no more, and ends once the results are here."""
        for sent in list(self.opener.calls.values()):
            sent.cancel()
        self.retire()

    async def _open(self, timeout: float, *, resume: bool) -> None:
        stream = self._channel.open_stream(self._path, None, session_pb2.SessionFrame.FromString)
        try:
            async with asyncio.timeout(timeout):
                await stream.write(self.opener.hello(resume=resume))
                frame = await stream.read()
            if frame is grpc.aio.EOF:
                raise ParadeError(Reason.UNAVAILABLE, f"{self._channel.peer} ended the session before it began")
            lost = self.opener.greeted(check_first(frame), resume=resume)
        except TimeoutError as error:
            stream.cancel()
            self._channel.drop()
            raise ParadeError(Reason.UNAVAILABLE, f"{self._channel.peer} did not answer within {timeout:.1f} s") from error
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError) as error:
            stream.cancel()
            raise await self._failure(stream, error) from error
        except BaseException:
            stream.cancel()
            raise
        self._stream = stream
        self._heard = True
        if self._retired:
            self._attention(self)
        if lost:
            self._lose(lost, ParadeError(Reason.UNAVAILABLE, f"{self._channel.peer} no longer knows the call"))

    async def _failure(self, stream: Any, error: Exception) -> Exception:
        if not isinstance(error, grpc.aio.AioRpcError):
            # Written to a stream that had ended: why it ended is for its status to say.
            try:
                async with asyncio.timeout(OPEN_TIMEOUT):
                    await stream.read()
            except grpc.aio.AioRpcError as status:
                error = status
            except (TimeoutError, asyncio.CancelledError, asyncio.InvalidStateError):
                pass
        if not isinstance(error, grpc.aio.AioRpcError):
            return ParadeError(Reason.UNAVAILABLE, f"the stream to {self._channel.peer} ended")
        if error.code() is grpc.StatusCode.UNIMPLEMENTED:
            return UnimplementedError(f"{self._channel.peer} knows no sessions")
        return from_rpc_error(error, service=self._channel.peer)

    async def _carry(self) -> ParadeError | None:
        """Carries frames until the stream ends; None where that is as it should be."""
        stream = self._stream
        self._silent = 0
        self._frozen = False
        self._watch()
        self.outbox.wake()
        writer = self._loop.create_task(self._write(stream))
        try:
            while True:
                frame = await stream.read()
                if frame is grpc.aio.EOF:
                    break
                self._heard = True
                self.opener.received(frame)
                self._after(frame)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            if writer.done() and not writer.cancelled() and (failure := writer.exception()) is not None:
                raise failure from None
            if not self._frozen:
                return None  # it was closed, and the acceptor took its time over that
            self._channel.drop()
            return ParadeError(Reason.UNAVAILABLE, f"nothing was heard of {self._channel.peer} for {BROKEN_TICKS * TICK:.0f} s")
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError) as error:
            failure = await self._failure(stream, error)
            return failure if isinstance(failure, ParadeError) else ParadeError(Reason.UNAVAILABLE, str(failure))
        except ParadeError as error:
            if self._log is not None:
                self._log.error("session ended", peer=self._channel.peer, message=error.message)
            return error
        finally:
            writer.cancel()
            stream.cancel()
            await asyncio.gather(writer, return_exceptions=True)
        if self._retired and self.idle:
            return None
        return ParadeError(Reason.UNAVAILABLE, f"{self._channel.peer} ended the session")

    async def _write(self, stream: Any) -> None:
        outbox, opener = self.outbox, self.opener
        try:
            while await outbox.due():
                frame, entries = opener.take()
                if frame:
                    outbox.left(entries)
                    await stream.write(frame)
                    if opener.pending() or len(opener.unacknowledged) >= ACKNOWLEDGE_COUNT:
                        outbox.wake()
                    if self._ticking is None and opener.calls:
                        self._watch()
                elif self._retired and not opener.calls:
                    await stream.done_writing()
                    self._ending = self._loop.call_later(OPEN_TIMEOUT, stream.cancel)
                    return
                if self._retired and not opener.calls:
                    outbox.wake()
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError, grpc.aio.UsageError):
            return  # the reader learns why
        except Exception:
            stream.cancel()  # nothing more can be written: the reader must not wait for answers
            raise

    def _after(self, frame: session_pb2.SessionFrame) -> None:
        opener = self.opener
        unacknowledged = len(opener.unacknowledged)
        if unacknowledged >= ACKNOWLEDGE_COUNT or (self._retired and not opener.calls):
            self.outbox.wake()
        elif unacknowledged and self._acknowledging is None:
            self._acknowledging = self._loop.call_later(ACKNOWLEDGE_AFTER, self._acknowledge)
        if frame.drain:
            self._attention(self)

    def _acknowledge(self) -> None:
        self._acknowledging = None
        if not self.opener.unacknowledged:
            return
        # A frame takes along all that there are, so what there is now came after the last one: under load there is always a later one.
        due = self.outbox.last_left + ACKNOWLEDGE_AFTER
        if due > self._loop.time():
            self._acknowledging = self._loop.call_at(due, self._acknowledge)
        else:
            self.outbox.wake()

    async def _reopen(self, error: ParadeError) -> ParadeError | None:
        """Resumes the session; returns why that cannot be done."""
        until = self._loop.time() + OPEN_TIMEOUT
        while (left := until - self._loop.time()) > 0:
            try:
                await self._open(left, resume=True)
            except ParadeError as failure:
                if failure.reason in FINAL:
                    return failure
                await asyncio.sleep(REOPEN_PAUSE)
            except UnimplementedError:
                return error
            else:
                return None
        return error

    def _lose(self, lost: list[Sent], error: ParadeError) -> None:
        for sent in lost:
            try:
                sent.receiver.lost(LostError(error.message, sent=True, reason=error.reason))
            except Exception as failure:  # noqa: BLE001  # one receiver must not keep the others from hearing
                self._loop.call_exception_handler({"message": "a receiver failed", "exception": failure})

    def lose(self, error: ParadeError) -> None:
        """Tells the receivers of all calls that are out that they are lost."""
        self._lose(self.opener.abandon(), error)

    # ---- whether the acceptor is still there

    def _watch(self) -> None:
        if self._ticking is None:
            self._silent = 0
            self._ticking = self._loop.call_later(TICK, self._tick)

    def _tick(self) -> None:
        self._ticking = None
        if not self.opener.calls:
            return
        if self._channel.renewed:
            self._attention(self)
        self._silent = 0 if self._heard else self._silent + 1
        self._heard = False
        if self._silent == BROKEN_TICKS:
            self._frozen = True
            self._stream.cancel()
            return
        if self._silent >= PING_TICKS:
            self.opener.ping()
        self._ticking = self._loop.call_later(TICK, self._tick)

    def _stop(self) -> None:
        for timer in (self._ticking, self._acknowledging, self._ending):
            if timer is not None:
                timer.cancel()
        self._ticking = self._acknowledging = self._ending = None
        self.outbox.close()
        # gRPC's call holds its connection open. What is garbage here is in cycles, and may not be collected for hours.
        self._stream = None
