"""Ways to load something with calls, and what is measured of it. The same for the mesh and for its rivals."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

Call = Callable[[], Awaitable[object]]

DRAIN = 10.0
"""Seconds after the last arrival in which calls may still end; those that have not are failures."""


@dataclass(slots=True)
class Sample:
    """What one run has shown."""

    seconds: float
    """How long it took."""
    latencies: list[float] = field(default_factory=list)
    """Seconds that each call took which succeeded."""
    failed: int = 0
    """Calls that did not."""
    cpu_us: float = 0.0
    """Processor time of everybody who took part, in microseconds, for an operation."""

    @property
    def rate(self) -> float:
        """Successes in a second."""
        return len(self.latencies) / self.seconds

    def percentile_ms(self, share: float) -> float | None:
        """Returns the latency that so many calls kept below, in milliseconds; None where none succeeded."""
        if not self.latencies:
            return None
        ordered = sorted(self.latencies)
        return 1000 * ordered[min(len(ordered) - 1, int(len(ordered) * share))]


async def closed(call: Call, concurrency: int, count: int) -> Sample:
    """Keeps so many calls in flight until so many are done."""
    sample = Sample(0.0)
    turns = iter(range(count))

    async def worker() -> None:
        for _ in turns:
            await _one(call, time.perf_counter(), sample)

    started = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(concurrency):
            tasks.create_task(worker())
    sample.seconds = time.perf_counter() - started
    return sample


async def steady(call: Call, concurrency: int, seconds: float) -> Sample:
    """Keeps so many calls in flight for so long. Those that end later do not count, so that the last ones, however slow, change nothing."""
    sample = Sample(seconds)
    until = time.perf_counter() + seconds

    async def worker() -> None:
        while time.perf_counter() < until:
            await _one(call, time.perf_counter(), sample)

    tasks = [asyncio.create_task(worker()) for _ in range(concurrency)]
    await asyncio.sleep(seconds)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return sample


async def arriving(call: Call, rate: float, seconds: float) -> Sample:
    """Makes calls at random times, whatever becomes of those before: a Poisson process.

    A latency counts from when the call was to be made, so that a caller that is held up hides nothing.
    """
    sample = Sample(0.0)
    calls: set[asyncio.Task[None]] = set()
    started = due = time.perf_counter()
    while due < started + seconds:
        pause = due - time.perf_counter()
        if pause > 0:
            await asyncio.sleep(pause)
        while due <= time.perf_counter():
            task = asyncio.create_task(_one(call, due, sample))
            calls.add(task)
            task.add_done_callback(calls.discard)
            due += random.expovariate(rate)
        await asyncio.sleep(0)
    if calls:
        _, left = await asyncio.wait(set(calls), timeout=DRAIN)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        sample.failed += len(left)
    sample.seconds = time.perf_counter() - started
    return sample


async def burst(call: Call, count: int) -> Sample:
    """Makes so many calls at once."""
    sample = Sample(0.0)
    started = time.perf_counter()
    await asyncio.gather(*(_one(call, started, sample) for _ in range(count)))
    sample.seconds = time.perf_counter() - started
    return sample


async def _one(call: Call, started: float, sample: Sample) -> None:
    try:
        await call()
    except Exception:  # noqa: BLE001  # a failure is a figure here, whoever's it is
        sample.failed += 1
    else:
        sample.latencies.append(time.perf_counter() - started)
