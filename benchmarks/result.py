"""What a case has found: one JSON line."""

import json
import os
import platform
import statistics
import subprocess
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version

from benchmarks.load import Sample


@dataclass(frozen=True, slots=True)
class Result:
    """A figure beside its rival's, both medians of the same number of runs that took turns."""

    case: str
    value: float | None
    unit: str
    rival: str
    """What it is measured against."""
    rival_value: float | None
    ratio: float | None
    """`value` divided by `rival_value`."""
    runs: int
    p50_ms: float | None = None
    p99_ms: float | None = None
    cpu_us_per_op: float | None = None
    """Processor time of client, services and agents together for one operation."""
    rival_versions: str = ""

    def line(self) -> str:
        """Returns the JSON line; figures that the case does not have are null."""
        facts = asdict(self)
        runs, theirs = facts.pop("runs"), facts.pop("rival_versions")
        versions = f"{_versions()}, {theirs}" if theirs else _versions()
        facts |= {"machine": _machine(), "versions": versions, "runs": runs, "commit": _commit()}
        return json.dumps({key: _short(value) for key, value in facts.items()}, ensure_ascii=False)


def compared(case: str, unit: str, ours: Sequence[float], rival: str, theirs: Sequence[float]) -> Result:
    """Returns the result of runs that took turns.

    Args:
        case: The case's name.
        unit: The unit of the figures.
        ours: Our figure of every run.
        rival: What it is measured against.
        theirs: The rival's figure of every run.
    """
    value, rival_value = statistics.median(ours), statistics.median(theirs)
    return Result(case, value, unit, rival, rival_value, value / rival_value if rival_value else None, len(ours))


def judged(
    case: str,
    unit: str,
    figure: Callable[[Sample], float | None],
    ours: Sequence[Sample],
    rival: str,
    theirs: Sequence[Sample],
    rival_versions: str = "",
) -> Result:
    """Returns the result of samples that took turns.

    Args:
        case: The case's name.
        unit: The unit of the figures.
        figure: What is compared, made of one run.
        ours: Our runs.
        rival: What they are measured against.
        theirs: The rival's runs.
        rival_versions: What the rival is made of, where it has an environment of its own.
    """
    value, rival_value = _median(map(figure, ours)), _median(map(figure, theirs))
    failed = sum(sample.failed for sample in ours)
    return Result(
        case,
        value,
        f"{unit}; {failed} FAILED" if failed and unit != "failed" else unit,
        rival,
        rival_value,
        value / rival_value if value is not None and rival_value else None,
        len(ours),
        p50_ms=_median(sample.percentile_ms(0.5) for sample in ours),
        p99_ms=_median(sample.percentile_ms(0.99) for sample in ours),
        cpu_us_per_op=_median(sample.cpu_us or None for sample in ours),
        rival_versions=rival_versions,
    )


def _median(figures: Iterable[float | None]) -> float | None:
    known = [figure for figure in figures if figure is not None]
    return statistics.median(known) if known else None


def _short(value: object) -> object:
    return float(f"{value:.4g}") if isinstance(value, float) else value


def _machine() -> str:
    system = f"Linux {platform.release()}" if platform.system() == "Linux" else platform.platform()
    return f"{os.cpu_count()} cores, {platform.machine()}, {system}"


def _versions() -> str:
    packages = ("parade-mesh", "grpcio", "protobuf", "sqlalchemy")
    return ", ".join([f"Python {platform.python_version()}", *(f"{name} {version(name)}" for name in packages)])


def _commit() -> str:
    answer = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    return answer.stdout.strip() or "unknown"
