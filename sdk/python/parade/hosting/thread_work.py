"""Calls of plain functions and generators: a thread each, which nobody can stop from outside."""

import asyncio
import contextvars
import threading
from collections import deque
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

from parade.hosting.failures import failure_of
from parade.hosting.notes import MAX_NOTES, Notes, event_of
from parade.hosting.work import Work
from parade.v1 import call_pb2, session_pb2, value_pb2
from parade.wire.errors import ParadeError


class ThreadWork(Work):
    """A call of a plain function."""

    __slots__ = ("_future",)

    def run(self, data: bytes) -> None:
        """Begins the function in a thread."""
        arguments = self.arguments(data)
        environment = self.environment() or contextvars.copy_context()
        self._future: Future[None] = self.host.threads.submit(environment.run, self._run, arguments)

    def stop(self) -> None:
        """Tells who called that the function runs on, where it has begun: its thread keeps its place until it returns."""
        if self._future.cancel():
            self.stopped()
            self.left()
        else:
            self.stopped(call_pb2.CANCELLATION_COULD_NOT_STOP)

    def _run(self, arguments: dict[str, Any]) -> None:
        """Runs the function, in the thread."""
        self.began = self.host.now()
        data: bytes | None = None
        failure: ParadeError | None = None
        try:
            data = self._outcome(arguments)
        except BaseException as error:  # noqa: BLE001  # whatever it is, the call has ended with it
            failure = failure_of(error)
        with suppress(RuntimeError):  # the event loop has ended, and with it the counting
            self.host.loop.call_soon_threadsafe(self._returned, data, failure)

    def _outcome(self, arguments: dict[str, Any]) -> bytes | None:
        function = self.served.function
        return function.encode(function.handler(**arguments))

    def _returned(self, data: bytes | None, failure: ParadeError | None) -> None:
        if failure is None:
            self.succeed(data)
        else:
            self.fail(failure)
        self.left()


class ThreadStream(ThreadWork):
    """A call of a generator function."""

    __slots__ = ("_due", "_given", "_notes_together", "_outgoing", "_putting", "_taken", "_woken")

    def run(self, data: bytes) -> None:
        """Begins the generator in a thread."""
        self._woken = threading.Event()
        self._outgoing: deque[session_pb2.SessionEvent] = deque()
        self._putting = threading.Lock()
        self._notes_together = 0
        """Notes that were given since the last item."""
        self._due = False
        self._given = 0
        """Bytes of items that the generator has given."""
        self._taken = 0
        """Bytes of items that have been told."""
        super().run(data)

    def stop(self) -> None:
        """Ends the generator where it next yields."""
        super().stop()
        self._woken.set()

    def credited(self) -> None:
        """Lets the generator go on."""
        self._woken.set()

    def _outcome(self, arguments: dict[str, Any]) -> None:
        encode, limit = self.served.function.encode, self.inline_bytes
        items = self.served.function.handler(**arguments)
        try:
            for item in items:
                data = encode(item)
                self._give(value_pb2.Value(data=data) if len(data) <= limit else self._large(data))
                if self.cancelling is not None:
                    return
        finally:
            items.close()

    def _give(self, item: value_pb2.Value) -> None:
        """Hands an item to the event loop and waits until there is room for another; in the thread."""
        self._given += item.ByteSize()
        with self._putting:
            self._notes_together = 0
            self._put(session_pb2.SessionEvent(item=item))
        while self._room() <= 0 and self.cancelling is None:
            self._woken.clear()
            if self._room() <= 0 and self.cancelling is None:
                self._woken.wait()

    def put_note(self, event: session_pb2.SessionEvent) -> None:
        """Hands a note to the event loop, in any thread; of many together the last gives way."""
        with self._putting:
            self._notes_together += 1
            if self._notes_together > MAX_NOTES:
                with suppress(IndexError):  # all of them were told meanwhile
                    self._outgoing[-1] = event
                    return
            self._put(event)

    def make_notes(self) -> Notes:
        """Returns what takes the notes; they keep their place among the items."""
        return _NotesAmongItems(self)

    def tell_given(self) -> None:
        """Tells what was given, in the event loop."""
        self._due = False
        outgoing = self._outgoing
        while outgoing:
            event = outgoing.popleft()
            size = event.item.ByteSize() if event.HasField("item") else 0
            self.tell(event)
            self._taken += size
        self._woken.set()

    def _put(self, event: session_pb2.SessionEvent) -> None:
        self._outgoing.append(event)
        if not self._due:
            self._due = True
            self.host.loop.call_soon_threadsafe(self.tell_given)

    def _room(self) -> int:
        return self.exchange.window - (self._given - self._taken)

    def _large(self, data: bytes) -> value_pb2.Value:
        if self.host.artifacts is not None:
            return asyncio.run_coroutine_threadsafe(self.host.artifacts.shrink(data), self.host.loop).result()
        self.served.function.check_result_size(data)
        return value_pb2.Value(data=data)


class _NotesAmongItems(Notes):
    """The notes of a generator in a thread."""

    __slots__ = ("_stream",)

    def __init__(self, stream: ThreadStream) -> None:
        super().__init__(stream)
        self._stream = stream

    def note(self, fraction: float, message: str) -> None:
        self._stream.put_note(event_of(fraction, message, self._stream.call))

    def tell(self) -> None:
        self._stream.tell_given()
