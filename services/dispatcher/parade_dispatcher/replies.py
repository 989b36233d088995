"""What RPCs hear of their calls, where they are no sessions: a result, a stream of events, or the outcomes of many. They decide nothing."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator

from parade.v1 import dispatcher_pb2
from parade.wire.channel import MAX_MESSAGE_BYTES
from parade.wire.errors import ParadeError, Reason
from parade.wire.session.limits import room_taken
from parade.wire.status import to_record
from parade_dispatcher import convert
from parade_dispatcher.job import Job
from parade_dispatcher.model import Answer, Content, Progress, Timing

LARGEST_BATCH = MAX_MESSAGE_BYTES - 512 * 1024
"""Bytes of results that one response may hold, with room for what stands around them."""

Response = dispatcher_pb2.CallStreamResponse


class Deaf:
    """A reply that does not care for what comes before the end."""

    __slots__ = ()

    def assigned(self, call_id: str, instance_id: str) -> None:
        """Passes it over."""

    def progressed(self, progress: Progress) -> None:
        """Passes it over."""

    def item(self, value: Content) -> None:
        """Passes it over."""

    def cancelling(self, state: str) -> None:
        """Passes it over."""


class Single(Deaf):
    """The result of one call, to be waited for."""

    __slots__ = ("outcome",)

    def __init__(self) -> None:
        """Begins without an outcome."""
        self.outcome: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

    def answered(self, answer: Answer) -> None:
        """Takes the result."""
        if not self.outcome.done():
            self.outcome.set_result(answer)

    def failed(self, error: ParadeError, timing: Timing) -> None:  # noqa: ARG002  # an RPC that failed has no place for it
        """Takes the failure."""
        if not self.outcome.done():
            self.outcome.set_exception(error)


class Followed:
    """The events of one call, to be read one by one. What has been read makes room for more items."""

    __slots__ = ("_ended", "_error", "_events", "_news")

    def __init__(self) -> None:
        """Begins without an event."""
        self._events: deque[tuple[Response, int]] = deque()
        self._news = asyncio.Event()
        self._ended = False
        self._error: ParadeError | None = None

    def answered(self, answer: Answer) -> None:
        """Takes the result, or the good end of a stream."""
        if answer.result is not None:
            self._put(Response(result=convert.value(answer.result)))
        self._end()

    def failed(self, error: ParadeError, timing: Timing) -> None:  # noqa: ARG002  # an RPC that failed has no place for it
        """Takes the failure."""
        self._error = error
        self._end()

    def assigned(self, call_id: str, instance_id: str) -> None:
        """Takes which instance has the call."""
        self._put(Response(assigned=Response.Assigned(call_id=call_id, instance_id=instance_id)))

    def progressed(self, progress: Progress) -> None:
        """Takes how far the call has come, in place of the last such note where nobody has read that yet."""
        if self._events and self._events[-1][0].HasField("progress"):
            self._events.pop()
        self._put(Response(progress=convert.progress_message(progress)))

    def item(self, value: Content) -> None:
        """Takes an item."""
        response = Response(item=convert.value(value))
        self._put(response, room_taken(response.item))

    def cancelling(self, state: str) -> None:
        """Passes it over: who cancels this RPC reads no more of it."""

    async def events(self, job: Job) -> AsyncGenerator[Response, None]:
        """Yields the events until the call has ended.

        Raises:
            ParadeError: Why it failed.
        """
        try:
            while True:
                while self._events:
                    response, size = self._events.popleft()
                    yield response
                    if size:
                        job.grant(size)
                if self._ended:
                    break
                self._news.clear()
                await self._news.wait()
        finally:
            if not self._ended:
                job.gone()
        if self._error is not None:
            raise self._error

    def _put(self, response: Response, size: int = 0) -> None:
        self._events.append((response, size))
        self._news.set()

    def _end(self) -> None:
        self._ended = True
        self._news.set()


class Batch:
    """The outcomes of many calls, to be waited for."""

    def __init__(self, count: int) -> None:
        """Begins without an outcome, of `count` calls."""
        self.outcomes = [dispatcher_pb2.BatchCallResponse.Outcome() for _ in range(count)]
        self.ended = asyncio.Event()
        self._left = count
        self._room = LARGEST_BATCH

    def reply(self, place: int) -> "_Place":
        """Returns the reply of the call at a place."""
        return _Place(self, place)

    def put(self, place: int, answer: Answer) -> None:
        """Takes a result. One for which there is no room is an error of its own, since it would take all others with it."""
        response = convert.answer(answer)
        size = response.ByteSize()
        if size > self._room:
            message = f"the results of the batch have more than {LARGEST_BATCH:,} bytes; make this call alone"
            self.fail(place, ParadeError(Reason.FAILED_PRECONDITION, message, metadata={"call_id": answer.call_id}))
            return
        self._room -= size
        self.outcomes[place].response.CopyFrom(response)
        self._count()

    def fail(self, place: int, error: ParadeError) -> None:
        """Takes a failure."""
        self.outcomes[place].error.CopyFrom(to_record(error))
        self._count()

    def _count(self) -> None:
        self._left -= 1
        if not self._left:
            self.ended.set()


class _Place(Deaf):
    __slots__ = ("_batch", "_place")

    def __init__(self, batch: Batch, place: int) -> None:
        self._batch = batch
        self._place = place

    def answered(self, answer: Answer) -> None:
        self._batch.put(self._place, answer)

    def failed(self, error: ParadeError, timing: Timing) -> None:  # noqa: ARG002  # an RPC that failed has no place for it
        self._batch.fail(self._place, error)
