"""`parade agent`: agents and their instances."""

from typing import TYPE_CHECKING, Annotated

import typer

from parade.cli.connection import with_mesh
from parade.cli.function import first_line, signature
from parade.cli.output import Format, Output, say, table, write

if TYPE_CHECKING:
    from rich.console import RenderableType

    from parade.v1.agent_manager_pb2 import Agent, Instance

app = typer.Typer(no_args_is_help=True, help="Agents and their instances.")

Name = Annotated[str, typer.Argument(metavar="AGENT", help="Its name.")]


@app.command("list")
def list_agents(output: Output = Format.TABLE) -> None:
    """List the agents.

    For example:

        parade agent list
    """
    from parade.cli.plain import plain, state_name

    agents = with_mesh(lambda mesh: mesh.agents())
    rows = [(agent.name, state_name(agent), _count(agent), ", ".join(function.name for function in agent.functions)) for agent in agents]
    empty = "No agent is known yet; start one with `parade agent serve module:agent`."
    write([plain(agent) for agent in agents], output, table(("AGENT", "STATE", "INSTANCES", "FUNCTIONS"), rows, empty))


@app.command()
def show(name: Name, output: Output = Format.TABLE) -> None:
    """Show an agent with its instances and functions.

    For example:

        parade agent show greeter
    """
    from parade.cli.plain import plain, state_name

    agent = with_mesh(lambda mesh: mesh.agent(name))
    facts = table(("AGENT", "STATE"), [(agent.name, state_name(agent))], "")
    write(plain(agent), output, facts, "", _instances(agent), "", _functions(agent))


@app.command()
def serve(
    target: Annotated[str, typer.Argument(metavar="MODULE:AGENT", help="The module, and the name of the agent in it.")],
    instances: Annotated[int, typer.Option("--instances", "-n", min=1, help="How many copies, each a process of its own.")] = 1,
) -> None:
    """Serve an agent with a number of instances until Ctrl-C.

    An instance that dies is started again.

    For example:

        parade agent serve agents:greeter --instances 2
    """
    from parade.supervisor import serve_instances

    raise typer.Exit(serve_instances(target, instances))


@app.command()
def pause(name: Name) -> None:
    """Stop new calls to an agent; calls that run go on.

    For example:

        parade agent pause greeter
    """
    with_mesh(lambda mesh: mesh.pause_agent(name))
    say(f"{name} is paused")


@app.command()
def resume(name: Name) -> None:
    """Let calls reach a paused agent again.

    For example:

        parade agent resume greeter
    """
    with_mesh(lambda mesh: mesh.resume_agent(name))
    say(f"{name} takes calls")


@app.command()
def drain(name: Name, instance: Annotated[str, typer.Argument(metavar="INSTANCE", help="The instance's id.")]) -> None:
    """Ask an instance to finish what it runs, take nothing new, and leave.

    For example:

        parade agent drain greeter ins_01hzy3
    """
    with_mesh(lambda mesh: mesh.drain_instance(name, instance))
    say(f"{instance} is draining")


def _count(agent: "Agent") -> str:
    from parade.cli.plain import state_name

    ready = sum(state_name(instance) == "READY" for instance in agent.instances)
    return f"{ready} ready" if ready == len(agent.instances) else f"{ready} ready of {len(agent.instances)}"


def _instances(agent: "Agent") -> "RenderableType":
    from parade.cli.plain import state_name

    rows = [
        (instance.id, state_name(instance), instance.address, f"{instance.host}/{instance.pid}", instance.version, _load(instance))
        for instance in agent.instances
    ]
    return table(("INSTANCE", "STATE", "ADDRESS", "PROCESS", "VERSION", "CALLS"), rows, "No instance runs.")


def _load(instance: "Instance") -> str:
    return f"{instance.load.in_flight} of {instance.max_concurrency} running, {instance.load.completed} done"


def _functions(agent: "Agent") -> "RenderableType":
    from parade.cli.plain import plain, state_name

    rows = [
        (function.name, signature(plain(function)), state_name(function, "effect").lower(), first_line(function.description))
        for function in agent.functions
    ]
    return table(("FUNCTION", "ARGUMENTS", "EFFECT", "DESCRIPTION"), rows, "It has no functions.")
