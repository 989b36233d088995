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


def rest() -> None:
    """Waits until what was just started has settled."""
    gc.collect()
    time.sleep(3 * SETTLE)
