"""People who go on starting runs while the scheduler dies under them, and what must hold of all that was acknowledged."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import orjson

from parade.v1 import scheduler_pb2 as pb
from parade.wire.errors import ParadeError, Reason
from tests.integration.scheduler_harness import Call, Dispatcher, json, put, seconds

FLOW = {
    "a": {"call": "x.a"},
    "b": {"call": "x.b", "for-each": [1, 2, 3], "with": {"i": "${{ item }}"}, "needs": "a"},
    "w": {"wait": {"signal": "go"}, "needs": "b"},
    "c": {"call": "x.c", "needs": "w", "with": {"got": "${{ steps.b.output }}"}},
}
OUTPUTS = {"result": "${{ steps.c.output }}", "fan": "${{ steps.b.output }}"}
TASKS = 6
"""How many tasks a run has."""
PATIENCE = 60.0
"""Seconds that a run may take, with all that befalls the scheduler."""
READERS = 16
"""How many runs are read again at once."""
_AGAIN = frozenset({Reason.UNAVAILABLE, Reason.NO_CAPACITY, Reason.DEADLINE_EXCEEDED, Reason.CANCELLED})

AnswerT = TypeVar("AnswerT")


def answering(dispatcher: Dispatcher, delay: float = 0.01) -> None:
    """Lets a dispatcher answer every call after a moment, each with a number of its own."""
    number = 0

    def answer(call: Call) -> None:
        nonlocal number
        number += 1
        asyncio.get_running_loop().call_later(delay, call.succeed, {"number": number})

    dispatcher.auto = answer


class Load:
    """People who use a scheduler, and what they were told."""

    def __init__(self, stub: Callable[[], Any]) -> None:
        """Takes what gives a way to the scheduler, which may be another one every time."""
        self._stub = stub
        self.acknowledged: dict[str, str] = {}
        """The runs by the requests that have started them."""
        self.done: dict[str, pb.Run] = {}
        """The runs that were told to have ended, by their ids."""

    async def put(self) -> None:
        """Stores the workflow that is used."""
        await self._insist(lambda stub: put(stub, FLOW, outputs=OUTPUTS))

    async def run(self, request_id: str) -> None:
        """Starts a run, lets it go on where it waits, and sees it end; asks again for as long as there is no answer."""
        start = pb.StartRunRequest(workflow="flow", request_id=request_id)
        id = (await self._insist(lambda stub: stub.StartRun(start))).run.id
        assert self.acknowledged.setdefault(request_id, id) == id
        await self._until_it_waits(id)
        signal = pb.SignalRunRequest(run_id=id, name="go", value=json(request_id), request_id=request_id)
        await self._insist(lambda stub: stub.SignalRun(signal))
        wait = pb.WaitRunRequest(run_id=id, timeout=seconds(5))
        async with asyncio.timeout(PATIENCE):
            while True:
                run = (await self._insist(lambda stub: stub.WaitRun(wait))).run
                if run.HasField("end_time"):
                    self.done[id] = run
                    return

    async def _until_it_waits(self, id: str) -> None:
        get = pb.GetRunRequest(run_id=id)
        async with asyncio.timeout(PATIENCE):
            while True:
                run = (await self._insist(lambda stub: stub.GetRun(get))).run
                if next(step for step in run.steps if step.id == "w").state != pb.STEP_STATE_PENDING:
                    return
                await asyncio.sleep(0.02)

    async def go_on(self, name: str, until: Callable[[], bool], pause: float = 0.0) -> None:
        """Runs one run after the other, with a pause in seconds after each, until something has come true."""
        number = 0
        while not until():
            await self.run(f"{name}-{number}")
            await asyncio.sleep(pause)
            number += 1

    async def check(self) -> None:
        """Reads again all that was acknowledged, and demands that it ended well, once."""
        assert len(self.done) == len(self.acknowledged)
        left = iter(self.acknowledged.items())

        async def reader() -> None:
            for request_id, id in left:
                await self._check_run(request_id, id)

        async with asyncio.TaskGroup() as readers:
            for _ in range(READERS):
                readers.create_task(reader())

    async def _check_run(self, request_id: str, id: str) -> None:
        get = pb.GetRunRequest(run_id=id)
        run = (await self._insist(lambda stub: stub.GetRun(get))).run
        assert run == self.done[id]
        assert run.state == pb.RUN_STATE_SUCCEEDED, run
        start = pb.StartRunRequest(workflow="flow", request_id=request_id)
        assert (await self._insist(lambda stub: stub.StartRun(start))).run.id == id
        await self._check_history(run)

    async def _check_history(self, run: pb.Run) -> None:
        async def followed(stub: Any) -> list[pb.RunEvent]:
            return [one.event async for one in stub.WatchRun(pb.WatchRunRequest(run_id=run.id))]

        events = await self._insist(followed)
        assert [event.sequence for event in events] == list(range(1, run.last_sequence + 1))
        accepted = Counter((event.step, event.task) for event in events if event.type == pb.RUN_EVENT_TYPE_TASK_SUCCEEDED)
        assert len(accepted) == TASKS, accepted
        assert set(accepted.values()) == {1}, accepted
        told = {
            (event.step, event.task): orjson.loads(event.output.data) for event in events if event.type == pb.RUN_EVENT_TYPE_TASK_SUCCEEDED
        }
        outputs = orjson.loads(run.outputs.data)
        assert outputs == {"result": told["c", 0], "fan": [told["b", number] for number in range(3)]}

    async def _insist(self, ask: Callable[[Any], Awaitable[AnswerT]]) -> AnswerT:
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    return await ask(self._stub())
                except ParadeError as error:
                    if error.reason not in _AGAIN:
                        raise
                    await asyncio.sleep(0.05)
