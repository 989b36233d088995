"""`python -m parade_local up|down`: what `parade dev` and `parade down` run."""

import argparse
import asyncio
import sys
from pathlib import Path

from parade.wire.mesh_file import STATE_FOLDER
from parade_local import mesh
from parade_local.printer import printer
from parade_local.state import StateFolder, stop


def main() -> int:
    """Reads the command and runs it; returns the exit status."""
    parser = argparse.ArgumentParser(prog="parade_local", description="The whole mesh on one machine.")
    parser.add_argument("command", choices=("up", "down"), help="start the mesh, or stop the one that runs")
    parser.add_argument("--state", type=Path, default=Path(STATE_FOLDER), help="the folder of the mesh")
    parser.add_argument("--detach", action="store_true", help="start it in the background")
    parser.add_argument("--log-level", choices=("debug", "info", "warning", "error"), default="info", help="the least grave record shown")
    parser.add_argument("--dispatchers", type=int, choices=range(1, 17), metavar="1-16", default=1, help="how many processes carry calls")
    options = parser.parse_args()
    folder = StateFolder(options.state.absolute())
    if options.command == "down":
        return _down(folder)
    if options.detach:
        return mesh.start_detached(folder, options.log_level, options.dispatchers)
    return asyncio.run(mesh.run(folder, options.log_level, options.dispatchers, printer()))


def _down(folder: StateFolder) -> int:
    try:
        stopped = stop(folder.path)
    except TimeoutError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write("the mesh has stopped\n" if stopped else f"no mesh runs in {folder.path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
