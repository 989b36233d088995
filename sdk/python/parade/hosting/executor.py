"""Runs the calls of one instance, and owns them: none outlives it unseen.

It knows nothing of gRPC: a call comes as a message with who waits for it, and is answered there.
"""

import asyncio
from collections.abc import Mapping
from functools import partial

from parade.durable.turns import Turns
from parade.function import Function
from parade.hosting.coroutine_work import CoroutineStream, CoroutineWork, begin_plain
from parade.hosting.durable_work import DurableWork
from parade.hosting.exchange import Exchange
from parade.hosting.host import Host
from parade.hosting.process_work import ProcessWork
from parade.hosting.served import Served
from parade.hosting.thread_work import ThreadStream, ThreadWork
from parade.hosting.work import Work
from parade.v1 import session_pb2
from parade.wire.errors import ParadeError, Reason
from parade.wire.status import to_record

CLOSE_TIMEOUT = 1.0
"""Seconds that functions get to end when their instance does."""


class Executor:
    """Runs the calls of one instance."""

    def __init__(self, functions: Mapping[str, Function], host: Host) -> None:
        """Takes the functions by name, and what their calls share."""
        self.host = host
        self._turns = Turns()
        self._served = {served.name: served for served in (_served(host.agent, one, self._turns) for one in functions.values())}

    def begin(self, call: session_pb2.SessionCall, exchange: Exchange) -> None:
        """Begins a call; it is answered through `exchange` in any case.

        Its answer may be UNKNOWN_FUNCTION, INVALID_ARGUMENTS, NO_CAPACITY, DEADLINE_EXCEEDED, CANCELLED, AGENT_ERROR, NOT_FOUND for one
        that is only to be attached to, or PERMISSION_DENIED for one without a mandate that is believed.

        Args:
            call: The call, with an id where its function has effects.
            exchange: Who waits for it. Where its window is 0 nobody wants to know what the call says, and a streaming function is refused.
        """
        if self.host.mandates is not None:
            try:
                self.host.mandates.check(call.origin)
            except ParadeError as error:
                _refuse(exchange, error)
                return
        served = self._served.get(call.function)
        if served is None:
            known = ", ".join(sorted(self._served))
            _refuse(exchange, ParadeError(Reason.UNKNOWN_FUNCTION, f"{self.host.agent} has no function {call.function!r}; it has {known}"))
        elif served.effect and self._known(call, exchange):
            return
        elif call.attach:
            _refuse(exchange, ParadeError(Reason.NOT_FOUND, f"nothing is known here of a call {call.options.call_id!r}"))
        elif served.plain:
            begin_plain(self.host, served, call, exchange)
        else:
            served.kind(self.host, served, call, exchange).begin()

    def _known(self, call: session_pb2.SessionCall, exchange: Exchange) -> bool:
        """Answers a call of an effect that runs or has run under its id: it is not run twice, whoever asks."""
        call_id = call.options.call_id
        work = self.host.effects.get(call_id)
        if work is not None and not work.answered:
            work.join(exchange)
            return True
        result = self.host.kept.get(call_id)
        if result is None or (result.HasField("error") and not call.attach):
            return False
        exchange.answer(result)
        return True

    async def close(self) -> None:
        """Ends what still runs. A thread cannot be stopped; it is left alone."""
        host = self.host
        for work in list(host.running):
            work.end(ParadeError(Reason.CANCELLED, "the instance has ended"))
        tasks = [task for task in (work.own_task() for work in host.running) if task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=CLOSE_TIMEOUT)
        self._turns.close()
        if host.workers is not None:
            await host.workers.close()
        host.threads.shutdown(wait=False, cancel_futures=True)


def _served(agent: str, function: Function, turns: Turns) -> Served:
    if function.durable:
        return Served(agent, function, partial(DurableWork, turns), coroutine=False)
    kind = _kind(function)
    return Served(agent, function, kind, coroutine=kind is CoroutineWork)


def _kind(function: Function) -> type[Work]:
    if function.process:
        return ProcessWork
    if function.threaded:
        return ThreadStream if function.streaming else ThreadWork
    return CoroutineStream if function.streaming else CoroutineWork


def _refuse(exchange: Exchange, error: ParadeError) -> None:
    exchange.answer(session_pb2.SessionResult(error=to_record(error)))
