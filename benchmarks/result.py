"""What a case has found: one JSON line."""

import json
import os
import platform
import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version


@dataclass(frozen=True, slots=True)
class Result:
    """A figure beside its rival's, both medians of the same number of runs that took turns."""

    case: str
    value: float
    unit: str
    rival: str
    """What it is measured against."""
    rival_value: float
    ratio: float
    """`value` divided by `rival_value`."""
    runs: int
    p50_ms: float | None = None
    p99_ms: float | None = None
    machine: str = ""
    versions: str = ""
    commit: str = ""

    def line(self) -> str:
        """Returns the JSON line; figures that the case does not have are left out."""
        facts = {**asdict(self), "machine": _machine(), "versions": _versions(), "commit": _commit()}
        return json.dumps({key: _short(value) for key, value in facts.items() if value is not None})


def compared(case: str, unit: str, ours: Sequence[float], rival: str, theirs: Sequence[float], latencies: Sequence[float] = ()) -> Result:
    """Returns the result of runs that took turns.

    Args:
        case: The case's name.
        unit: The unit of the figures.
        ours: Our figure of every run.
        rival: What it is measured against.
        theirs: The rival's figure of every run.
        latencies: Seconds that each of our operations took, where the case has them.
    """
    value, rival_value = statistics.median(ours), statistics.median(theirs)
    ordered = sorted(latencies)
    return Result(
        case,
        value,
        unit,
        rival,
        rival_value,
        value / rival_value,
        len(ours),
        p50_ms=1000 * ordered[len(ordered) // 2] if ordered else None,
        p99_ms=1000 * ordered[int(len(ordered) * 0.99)] if ordered else None,
    )


def _short(value: object) -> object:
    return round(value, 3 - len(str(int(abs(value)))) + 1) if isinstance(value, float) else value


def _machine() -> str:
    return (
        f"{os.cpu_count()} cores, {platform.machine()}, Linux {platform.release()}" if platform.system() == "Linux" else platform.platform()
    )


def _versions() -> str:
    packages = ("parade-mesh", "grpcio", "protobuf", "sqlalchemy")
    return ", ".join([f"Python {platform.python_version()}", *(f"{name} {version(name)}" for name in packages)])


def _commit() -> str:
    answer = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    return answer.stdout.strip() or "unknown"
