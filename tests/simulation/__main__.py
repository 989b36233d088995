"""Runs schedules: `python -m tests.simulation 17` that of one seed, `python -m tests.simulation 0 10000` that of many."""

import argparse
import gc
import os
import sys
import time

from tests.simulation.replica import NotingLog
from tests.simulation.schedule import Report, simulate


def main() -> int:
    """Runs the schedules that the command line names, and returns 1 where something did not hold."""
    parser = argparse.ArgumentParser("python -m tests.simulation")
    parser.add_argument("seed", type=int)
    parser.add_argument("count", type=int, nargs="?", default=1, help="how many seeds from that one on")
    parser.add_argument("step", type=int, nargs="?", default=1, help="only every so manieth of them")
    told = parser.parse_args()
    first, count, step = told.seed, told.count, told.step
    if os.environ.get("PYTHONHASHSEED") != "0":
        # In what order a set is gone through is the same every time then.
        program = [sys.executable, "-m", "tests.simulation", *sys.argv[1:]]
        os.execve(sys.executable, program, {**os.environ, "PYTHONHASHSEED": "0"})  # noqa: S606  # no shell is wanted
    NotingLog.is_loud = count == 1
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)  # a schedule leaves little that is worth looking for
    began, reports = time.process_time(), []
    for seed in range(first, first + count, step):
        reports.append(simulate(seed))
        if reports[-1].faults or count == 1:
            _tell(reports[-1])
    gc.collect()  # what failed and was looked at by nobody is noted when it is thrown away
    for report in reports:
        if len(report.faults) > report.told:
            _tell(report)
    bad = sum(bool(report.faults) for report in reports)
    runs, entries = sum(report.runs for report in reports), sum(report.entries for report in reports)
    virtual, real = sum(report.seconds for report in reports), time.process_time() - began
    sys.stdout.write(f"{bad} of {len(reports)} failed: {runs} runs, {entries} entries, {virtual:.0f} s of theirs in {real:.1f} s of CPU\n")
    return 1 if bad else 0


def _tell(report: Report) -> None:
    report.told = len(report.faults)
    facts = f"{report.runs} runs, {report.entries} entries, {report.commits} commits, digest {report.digest}"
    sys.stdout.write(f"seed {report.seed}: {facts}, troubles: {', '.join(report.troubles) or 'none'}\n")
    sys.stdout.writelines(f"  {fault}\n" for fault in report.faults)
    if report.faults:
        sys.stdout.write(f"  again: python -m tests.simulation {report.seed}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
