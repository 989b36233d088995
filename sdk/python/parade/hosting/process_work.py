"""Calls of functions that want a process of their own: a worker each, which is killed where the call is to end."""

from typing import TYPE_CHECKING

from parade.hosting.work import Work
from parade.v1 import session_pb2
from parade.wire.channel import MAX_VALUE_BYTES
from parade.wire.errors import ParadeError, Reason
from parade.wire.status import from_record

if TYPE_CHECKING:
    from parade.hosting.workers import Worker


class ProcessWork(Work):
    """A call that a worker process runs."""

    __slots__ = ("_given", "worker")

    def run(self, data: bytes) -> None:
        """Gives the call to a worker."""
        if self.host.workers is None:
            raise ParadeError(Reason.FAILED_PRECONDITION, "functions that want a process cannot run here")
        self._given = 0
        self.worker: Worker | None = None
        self.host.workers.take(self, data)

    def stop(self) -> None:
        """Kills the worker, with all that it has started; one that has not begun the call yet is left to others."""
        if self.began and self.worker is not None:
            self.worker.kill()
            self.await_end()
            return
        if self.worker is not None:
            self.worker.spare()
        self.stopped()
        self.left()

    def credited(self) -> None:
        """Lets the worker's generator go on."""
        more = self.exchange.window - self._given
        if more > 0 and self.worker is not None:
            self._given += more
            self.worker.grant(more)

    def call_for_worker(self, data: bytes) -> session_pb2.SessionCall:
        """Returns the call as a worker is to see it."""
        self.began = self.host.now()
        call = session_pb2.SessionCall()
        call.CopyFrom(self.call)
        call.ClearField("arguments")
        call.arguments.data = data
        call.ClearField("traceparent")
        call.origin.ClearField("mandate")  # the agent shows it in the worker's stead
        call.timeout = max(0.001, self.deadline - self.began)
        call.window = self._given = max(0, self.exchange.window) if self.watched else 0
        return call

    def heard(self, event: session_pb2.SessionEvent) -> None:
        """Passes on what the worker's function says."""
        if not event.HasField("item"):
            self.tell(event)
            return
        item = event.item
        self._given -= item.ByteSize() or 1
        if len(item.data) > MAX_VALUE_BYTES:
            self.end(ParadeError(Reason.AGENT_ERROR, f"{self.served.function.name} yielded an item that is too large to be sent"))
        else:
            self.tell_item(item)

    def heard_result(self, result: session_pb2.SessionResult) -> None:
        """Answers as the worker did."""
        if result.HasField("error"):
            error = from_record(result.error)
            if error.reason in (Reason.DEADLINE_EXCEEDED, Reason.CANCELLED):
                error = ParadeError(Reason.AGENT_ERROR, error.message)
            self.fail(error, told=True)
        else:
            self.succeed(result.result.data if result.HasField("result") else None)
        self.left()

    def died(self, how: str) -> None:
        """Answers where the worker has ended: because it was told to, or by itself."""
        self.fail(ParadeError(Reason.AGENT_ERROR, f"the process of {self.served.function.name} {how}", retryable=True))
        self.left()

    def unable(self, why: str) -> None:
        """Answers where no worker can be had."""
        self.fail(ParadeError(Reason.AGENT_ERROR, f"{self.served.function.name} cannot run in a process: {why}"))
        self.left()
