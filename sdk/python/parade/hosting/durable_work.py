"""Turns of durable functions: each runs where the call arrives, and is over when the function waits again."""

from asyncio import CancelledError

from parade.durable.turns import Turns
from parade.hosting.exchange import Exchange
from parade.hosting.host import Host
from parade.hosting.served import Served
from parade.hosting.work import Work
from parade.v1 import session_pb2
from parade.wire.errors import ParadeError, Reason
from parade.wire.log import Log


class DurableWork(Work):
    """One turn of a durable function."""

    __slots__ = ("_turns",)

    def __init__(self, turns: Turns, host: Host, served: Served, call: session_pb2.SessionCall, exchange: Exchange) -> None:
        """Takes what keeps the functions between turns, and the call."""
        super().__init__(host, served, call, exchange)
        self._turns = turns

    def run(self, data: bytes) -> None:
        """Takes the turn."""
        host, served = self.host, self.served
        run_id = self.call.origin.run_id
        if not run_id:
            message = f"{served.name} is a workflow and cannot be called: start it as a run, mesh.start({served.name!r}, …)"
            raise ParadeError(Reason.INVALID_ARGUMENTS, message)
        turn = self._turns.prepare(served.function, run_id, data, self._make_log, host.artifacts)
        self.began = host.now()
        try:
            answer = self._turns.take(turn)
        except (Exception, SystemExit, CancelledError) as error:  # noqa: BLE001  # the author's code may raise anything
            self.raised(error)
        else:
            self.succeed(answer)
        self.left()

    def stop(self) -> None:
        """Has nothing to end: a turn is over when it began."""
        self.stopped()
        self.left()

    def _make_log(self) -> Log:
        return self.host.log.bind({"function": self.served.name}, {"run_id": self.call.origin.run_id})
