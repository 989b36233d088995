"""`python -m benchmarks [case …]`: measures cases and prints a JSON line for each, and for each rival of it."""

import argparse
import compileall
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from types import FrameType

from benchmarks import abuse, balance, calls, growth, idle, processes, rest, security, sleeping, steps, stream
from benchmarks.grounds import Kind
from benchmarks.mesh import ECHO, Agent, Bench, Plan, running
from benchmarks.result import Result
from benchmarks.turns import rest as settle

COMPILED = ("sdk/python", "services", "benchmarks")


@dataclass(frozen=True, slots=True)
class Case:
    """One thing that is measured."""

    measure: Callable[[Bench], Iterator[Result]]
    agents: Sequence[Agent] = (ECHO,)
    limit: int = 300
    """Seconds that it may take, the start of the mesh included."""


CASES: dict[str, Case] = {
    "mesh.start": Case(processes.start, ()),
    "mesh.memory": Case(processes.memory, ()),
    "mesh.idle": Case(processes.idle, ()),
    "cli.call": Case(processes.command_line),
    "calls.c1": Case(calls.c1, limit=900),
    "calls.c64": Case(calls.c64, limit=900),
    "calls.work5.c64": Case(calls.work5_c64),
    "calls.open5000": Case(calls.open5000, limit=400),
    "calls.rest.c64": Case(rest.c64),
    "calls.burst": Case(calls.at_once),
    "calls.balance": Case(balance.balance, (balance.PACED,)),
    "calls.stream": Case(stream.stream),
    "calls.idle": Case(idle.idle, (), limit=400),
    "calls.security": Case(security.security, limit=900),
    "security.abuse": Case(abuse.abuse, limit=600),
    **{
        name: Case(measure, limit=900)
        for kind, end in ((Kind.SQLITE, ""), (Kind.POSTGRESQL, ".postgresql"))
        for name, measure in {
            f"steps.c64{end}": partial(steps.c64, kind=kind),
            f"steps.c1{end}": partial(steps.c1, kind=kind),
            f"steps.fan1000{end}": partial(steps.fan1000, kind=kind),
            f"steps.start{end}": partial(steps.start, kind=kind),
            f"steps.commits{end}": partial(steps.commits, kind=kind),
            f"steps.sleep{end}": partial(sleeping.sleep, kind=kind),
            f"steps.growth{end}": partial(growth.growth, kind=kind),
        }.items()
    },
}

EXAMPLE = """for example:
  python -m benchmarks                 every case
  python -m benchmarks calls           the cases whose names begin with "calls"
  python -m benchmarks calls.c64 --quick
                                       whether the case runs; its figures mean nothing
  make bench CASE=calls                the same as the second

docs/explanation/benchmarks.md says what each case is and how to read it."""


def main(arguments: Sequence[str]) -> int:
    """Runs the cases; returns the exit status."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks",
        description="Measures the real mesh beside named rivals in the same run. Prints a JSON line for each case and rival.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("case", nargs="*", help=f"how the names of cases begin; all where none is given: {', '.join(CASES)}")
    parser.add_argument("--runs", type=int, default=3, metavar="N", help="how often each case is measured (3)")
    parser.add_argument("--quick", action="store_true", help="one short run, to see that a case works")
    told = parser.parse_args(arguments)
    chosen = [name for name in CASES if not told.case or any(name.startswith(word) for word in told.case)]
    if not chosen:
        sys.stderr.write(f"no case begins with {' or '.join(told.case)}; there are {', '.join(CASES)}\n")
        return 2
    plan = Plan(1, 0.02) if told.quick else Plan(max(1, told.runs))
    for folder in COMPILED:
        compileall.compile_dir(folder, quiet=2, force=False)
    failed = [name for name in chosen if not _measured(name, CASES[name], plan)]
    if failed:
        sys.stderr.write(f"not measured: {', '.join(failed)}\n")
    return 1 if failed else 0


def _measured(name: str, case: Case, plan: Plan) -> bool:
    """Measures one case and prints what it found; says whether it could be measured."""
    sys.stderr.write(f"{name} …\n")
    signal.signal(signal.SIGALRM, _too_long)
    signal.alarm(case.limit)
    try:
        with running(plan, case.agents) as bench:
            settle([*bench.services(), *bench.agents()])
            for result in case.measure(bench):
                sys.stdout.write(result.line() + "\n")
                sys.stdout.flush()
    except (Exception, TooLongError) as error:  # noqa: BLE001  # the other cases are measured all the same, and the exit status tells
        cause = _first(error)
        sys.stderr.write(f"{name} failed: {type(cause).__name__}: {cause}\n")
        return False
    finally:
        signal.alarm(0)
    return True


def _first(error: BaseException) -> BaseException:
    return _first(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error


class TooLongError(KeyboardInterrupt):
    """A case takes longer than it may. Of all that can be raised, only interrupts and exits get out of an event loop at once."""


def _too_long(_number: int, _frame: FrameType | None) -> None:
    raise TooLongError("it took longer than a case may")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
