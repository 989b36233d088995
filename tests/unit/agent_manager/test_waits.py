"""Waits on streams: who waits too long is told so, and the end of the process ends them all."""

import asyncio
from math import inf

import pytest

from parade.wire.errors import ParadeError, Reason
from parade_agent_manager.waits import Waits


async def test_a_wait_ends_where_nothing_comes() -> None:
    wait = Waits().bounded(0.05)

    with pytest.raises(ParadeError) as raised:
        with wait:
            await asyncio.Event().wait()

    assert raised.value.reason is Reason.DEADLINE_EXCEEDED


async def test_each_wait_has_the_whole_time() -> None:
    wait = Waits().bounded(0.5)

    for _ in range(4):
        with wait:
            await asyncio.sleep(0.2)
    with pytest.raises(ParadeError):
        with wait:
            await asyncio.Event().wait()


async def test_time_between_waits_does_not_count() -> None:
    wait = Waits().bounded(0.05)

    with wait:
        pass
    await asyncio.sleep(0.2)
    with wait:
        await asyncio.sleep(0)


async def test_the_end_of_the_process_ends_those_that_wait_and_those_to_come() -> None:
    waits = Waits()
    asyncio.get_running_loop().call_soon(waits.end)

    with pytest.raises(ParadeError) as raised:
        with waits.bounded(inf):
            await asyncio.Event().wait()
    with pytest.raises(ParadeError) as later:
        with waits.bounded(inf):
            pass

    assert (raised.value.reason, later.value.reason) == (Reason.UNAVAILABLE, Reason.UNAVAILABLE)


async def test_a_cancelled_task_stays_cancelled() -> None:
    async def waiting() -> None:
        with Waits().bounded(inf):
            await asyncio.Event().wait()

    task = asyncio.create_task(waiting())
    await asyncio.sleep(0)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
