"""`python -m parade.serve module:agent`: one instance of an agent in this process."""

import importlib
import sys
import traceback
from pathlib import Path

from parade.agent import Agent

USAGE = "usage: python -m parade.serve module:agent"


class TargetError(Exception):
    """What was named cannot be served; the message says why and what to do."""


def load(target: str) -> Agent:
    """Imports an agent, with the working folder at the head of the import path.

    Args:
        target: `module:attribute`; the attribute is `agent` where not given.

    Raises:
        TargetError: There is no such module or attribute, it is no agent, or its module does not import.
    """
    module_name, _, attribute = target.partition(":")
    attribute = attribute or "agent"
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise TargetError(f"{module_name} cannot be imported: it needs the module {error.name!r}, which is not installed") from error
        raise TargetError(f"there is no module {module_name!r} in {folder} or among what is installed; name it as in `import`") from error
    except Exception as error:
        raise TargetError(f"{module_name} cannot be imported:\n{traceback.format_exc()}") from error
    agent = getattr(module, attribute, None)
    if isinstance(agent, Agent):
        return agent
    agents = [f"{module_name}:{name}" for name, value in vars(module).items() if isinstance(value, Agent)]
    found = f"agents there: {', '.join(agents)}" if agents else "there is no agent in it; make one with parade.Agent(…)"
    if agent is None:
        raise TargetError(f"{module_name} has no attribute {attribute!r}; {found}")
    raise TargetError(f"{module_name}:{attribute} is a {type(agent).__name__}, not a parade.Agent; {found}")


def main() -> None:
    """Serves the agent that the command line names."""
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.stderr.write(f"{USAGE}\n")
        sys.exit(2)
    try:
        agent = load(sys.argv[1])
        agent.serve()
    except (TargetError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)


if __name__ == "__main__":
    main()
