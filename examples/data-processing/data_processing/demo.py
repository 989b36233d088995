"""`python -m data_processing.demo [DATA]`: starts a mesh and the four agents, runs the workflow on a table, stops everything."""

import argparse
import asyncio
import contextlib
import signal
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import yaml
from rich.console import Console
from rich.live import Live
from rich.markup import escape

from data_processing.local_mesh import Agents, DemonstrationError, LocalMesh, Served
from data_processing.model.report import Report
from data_processing.progress import ENDS, RunProgress
from parade.client import Mesh, connect
from parade.run import Run, state_of
from parade.v1 import agent_manager_pb2
from parade.wire.errors import ParadeError

AGENTS = (
    Served("collector", "data_processing.collector:agent"),
    Served("cleaner", "data_processing.cleaner:agent", instances=2),
    Served("analyst", "data_processing.analyst:agent", instances=2),
    Served("visualiser", "data_processing.visualiser:agent"),
)
WORKFLOW = Path(__file__).parent.parent / "workflow.yaml"
JOIN_TIMEOUT = 60.0
RUN_TIMEOUT = 600.0
CANCEL_TIMEOUT = 3.0
INTERRUPTED = 130
"""The exit status after Ctrl-C, as shells know it."""


def main() -> int:
    """Reads the command line and runs the demonstration; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m data_processing.demo", description="Analyse a table with a mesh of agents.")
    parser.add_argument(
        "data", nargs="?", metavar="DATA", help="a path or a web address of a CSV or JSON table; cars.json of vega_datasets if not given"
    )
    parser.add_argument("--output", type=Path, default=Path("out"), help="the folder for reports (default: out)")
    options = parser.parse_args()
    console = Console(highlight=False)
    try:
        return asyncio.run(interruptible(options.data or packaged_table(), options.output.absolute(), console))
    except (DemonstrationError, ParadeError, OSError) as failure:
        console.print(f"[bold red]Failed:[/] {escape(str(failure) or type(failure).__name__)}", soft_wrap=True)
        return 1


def packaged_table() -> str:
    """Returns the path of a real table that comes with the package vega_datasets: 406 cars, 1970 to 1982, some values missing."""
    package = find_spec("vega_datasets")
    if package is None or package.origin is None:
        raise DemonstrationError("the package vega_datasets is not installed; run `make demo`, or name a table of your own")
    return str(Path(package.origin).parent / "_data" / "cars.json")


async def interruptible(data: str, output: Path, console: Console) -> int:
    """Runs the demonstration; the first Ctrl-C stops it in order, further ones do not disturb that."""
    task = asyncio.ensure_future(demonstrate(data, output, console))
    interrupted = False

    def interrupt() -> None:
        nonlocal interrupted
        if not interrupted:
            interrupted = True
            console.print("[yellow]Stopping…[/]")
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, interrupt)
    try:
        await task
    except asyncio.CancelledError:
        if not interrupted:
            raise
        console.print("Everything that was started has been stopped.")
        return INTERRUPTED
    return 0


async def demonstrate(data: str, output: Path, console: Console) -> None:
    """Starts the mesh and the agents, runs the workflow, says where the report is, and stops everything."""
    address = data if data.lower().startswith(("http://", "https://")) else str(Path(data).expanduser().absolute())
    began = time.monotonic()
    local = LocalMesh(output / "demo")
    with console.status("Starting the mesh …") as status:
        async with local.running(), local.serving(AGENTS) as agents:
            console.print(f"[green]✓[/] The mesh is up after {time.monotonic() - began:.1f} s")
            status.update("Waiting for the agents …")
            async with connect(local.file) as mesh:
                await joined(mesh, agents)
                instances = sum(agent.instances for agent in AGENTS)
                console.print(f"[green]✓[/] {len(AGENTS)} agents joined with {instances} instances after {time.monotonic() - began:.1f} s")
                status.stop()
                outputs = await run_workflow(mesh, address, output, console)
            status.update("Stopping …")
            status.start()
    tell(outputs, console)
    console.print(f"[dim]Everything that was started has been stopped; {time.monotonic() - began:.1f} s in all.[/]")


async def joined(mesh: Mesh, agents: Agents) -> None:
    """Waits until every instance takes calls.

    Raises:
        DemonstrationError: An agent has ended, or they take too long.
    """
    deadline = time.monotonic() + JOIN_TIMEOUT
    expected = {agent.name: agent.instances for agent in AGENTS}
    while True:
        agents.check()
        found = {agent.name: ready(agent) for agent in await mesh.agents()}
        if all(found.get(name, 0) >= count for name, count in expected.items()):
            return
        if time.monotonic() > deadline:
            raise DemonstrationError(
                f"the agents have not joined within {JOIN_TIMEOUT:g} s: {found} of {expected}; see {agents.mesh.folder / 'logs'}"
            )
        await asyncio.sleep(0.05)


def ready(agent: agent_manager_pb2.Agent) -> int:
    """Returns how many instances of an agent take calls."""
    return sum(instance.state == agent_manager_pb2.InstanceState.INSTANCE_STATE_READY for instance in agent.instances)


async def run_workflow(mesh: Mesh, address: str, output: Path, console: Console) -> Report:
    """Runs the workflow on a table and shows how it goes.

    Raises:
        ParadeError: The run failed; it says why.
        DemonstrationError: It takes too long.
    """
    source = WORKFLOW.read_text()
    await mesh.put_workflow(source)
    definition = yaml.safe_load(source)
    run = await mesh.start(definition["name"], address=address, workspace=str(output))
    console.print(f"Run [bold]{run.id}[/] on {address}\n", soft_wrap=True)
    progress = RunProgress({step: words["call"] for step, words in definition["steps"].items()})
    try:
        async with asyncio.timeout(RUN_TIMEOUT):
            await follow(run, progress, console)
            return Report.model_validate(await run.result())
    except TimeoutError:
        raise DemonstrationError(f"the run has not ended within {RUN_TIMEOUT:g} s") from None
    finally:
        await end(run)


async def end(run: Run) -> None:
    """Cancels a run that still goes on, so that its functions do not keep the agents from leaving."""
    with contextlib.suppress(ParadeError, TimeoutError):
        async with asyncio.timeout(CANCEL_TIMEOUT):
            if not state_of(await run.get()).ended:
                await run.cancel("the demonstration was stopped")
                await run.wait()


async def follow(run: Run, progress: RunProgress, console: Console) -> None:
    """Shows the run until it ends: as a table that changes on a terminal, or else a line a step."""
    if not console.is_terminal:
        async for event in run.events():
            progress.apply(event)
            if event.type in ENDS:
                console.print(progress.line(event.step), soft_wrap=True)
        return
    with Live(progress, console=console, refresh_per_second=12):
        async for event in run.events():
            progress.apply(event)


def tell(outputs: Report, console: Console) -> None:
    """Says what was found and where the report is."""
    console.print()
    for finding in outputs.findings[:5]:
        console.print(f"  • {escape(finding)}", soft_wrap=True)
    console.print(f"\n[bold]Report [/]  {outputs.report}", soft_wrap=True)
    console.print(f"[bold]Summary[/]  {outputs.summary}", soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
