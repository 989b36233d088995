"""Whatever goes wrong, and whenever: in seeded schedules every acknowledged run ends, and nothing happens twice."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

PROCESSES = min(2, os.cpu_count() or 1)


def simulated(first: int, count: int) -> str:
    """Runs schedules in other processes, and returns what did not hold and how it is repeated; empty where all did."""

    def part(number: int) -> str:
        command = [sys.executable, "-m", "tests.simulation", str(first + number), str(count - number), str(PROCESSES)]
        done = subprocess.run(command, env={**os.environ, "PYTHONHASHSEED": "0"}, capture_output=True, text=True, check=False)
        return f"ended with {done.returncode}\n{done.stdout}{done.stderr}" if done.returncode else ""

    with ThreadPoolExecutor(PROCESSES) as pool:
        return "\n".join(filter(None, pool.map(part, range(PROCESSES))))


@pytest.mark.timeout(300)
def test_some_schedules() -> None:
    assert simulated(0, 50) == ""


@pytest.mark.full
@pytest.mark.timeout(1800)
def test_many_schedules() -> None:
    assert simulated(1_000, 10_000) == ""
