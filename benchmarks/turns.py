"""Runs that take turns: ours, then each rival's, again and again, so that a slow minute of the machine slows them all."""

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

import psutil

from benchmarks.load import Sample

SETTLE = 0.3
"""Seconds of rest before a run, for what the last one left behind."""
AT_REST = 0.1
"""The share of a core that all of a mesh's processes together take at most where nobody calls."""
REST_TIMEOUT = 30.0
"""Seconds in which what was started must come to rest."""
OURS = ""
"""Our name among the contestants."""

Run = Callable[[float], Awaitable[Sample]]
"""Does the given share of a run and measures it."""


@dataclass(frozen=True, slots=True)
class Contest:
    """The runs that were measured, by name."""

    samples: Mapping[str, Sequence[Sample]]

    @property
    def ours(self) -> Sequence[Sample]:
        """Our runs."""
        return self.samples[OURS]


async def take_turns(contestants: Mapping[str, Run], runs: int, processes: Callable[[], Sequence[psutil.Process]]) -> Contest:
    """Warms each contestant up, then lets them run in turn.

    Args:
        contestants: What each does; ours under `OURS`.
        runs: How often each runs.
        processes: Everybody beside this process who takes part in our runs.
    """
    for run in contestants.values():
        await run(0.2)
    gc.collect()
    gc.freeze()
    samples: dict[str, list[Sample]] = {name: [] for name in contestants}
    for _ in range(runs):
        for name, run in contestants.items():
            gc.collect()
            await asyncio.sleep(SETTLE)
            parties = [psutil.Process(), *processes()] if name == OURS else []
            before = processor_seconds(parties)
            sample = await run(1.0)
            operations = len(sample.latencies) + sample.failed
            if parties and operations:
                sample.cpu_us += 1e6 * (processor_seconds(parties) - before) / operations
            samples[name].append(sample)
    gc.unfreeze()
    return Contest(samples)


def processor_seconds(processes: Sequence[psutil.Process]) -> float:
    """Returns the processor time that processes have used, in seconds."""
    return sum(sum(process.cpu_times()[:2]) for process in processes)


def rest(processes: Sequence[psutil.Process]) -> None:
    """Waits until processes that were just started do next to nothing: what they do at their start is not what is measured.

    Raises:
        TimeoutError: They go on and on.
    """
    gc.collect()
    deadline = time.monotonic() + REST_TIMEOUT
    while True:
        before, began = processor_seconds(processes), time.monotonic()
        time.sleep(SETTLE)
        if processor_seconds(processes) - before <= AT_REST * (time.monotonic() - began):
            return
        if time.monotonic() > deadline:
            raise TimeoutError(f"what was started has not come to rest within {REST_TIMEOUT:.0f} s")
