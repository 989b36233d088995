"""`python -m benchmarks [case …]`: runs the cases whose names begin with a word given, all where none is, and prints a JSON line a case."""

import sys
from collections.abc import Callable

from benchmarks import calls, processes
from benchmarks.mesh import Bench, running
from benchmarks.result import Result

CASES: dict[str, Callable[[Bench], Result]] = {
    "mesh.start": processes.start,
    "mesh.memory": processes.memory,
    "mesh.idle": processes.idle,
    "cli.call": processes.command_line,
    "calls.c1": calls.c1,
    "calls.c64": calls.c64,
}


def main(words: list[str]) -> int:
    """Runs the cases; returns the exit status."""
    chosen = [name for name in CASES if not words or any(name.startswith(word) for word in words)]
    if not chosen:
        sys.stderr.write(f"no case begins with {' or '.join(words)}; there are {', '.join(CASES)}\n")
        return 2
    for name in chosen:
        sys.stderr.write(f"{name} …\n")
        with running(agent=not name.startswith("mesh.")) as bench:
            sys.stdout.write(CASES[name](bench).line() + "\n")
            sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
