"""Which names an expression may use in which place of a definition."""

from typing import Final

STEP: Final = frozenset({"inputs", "steps", "run", "env"})
"""In everything of a step."""
CONDITION: Final = STEP | {"success", "failure"}
"""In `if`."""
TASK: Final = frozenset({"item", "index"})
"""Besides, in what a task of a for-each is given or waits for."""
TURN: Final = frozenset({"output", "index"})
"""Besides, in what a turn of a loop is given or waits for, and in `until`."""
ARGUMENTS: Final = frozenset({"secrets"})
"""Besides, in the `with` of a `call`: it is not kept on record."""
COMPENSATION: Final = STEP | {"output"}
"""In the `with` of `compensate`."""
OUTPUTS: Final = STEP
"""In `outputs`."""
ENVIRONMENT: Final = frozenset({"inputs", "secrets"})
"""In `env`."""
GROUP: Final = frozenset({"inputs"})
"""In the name of a concurrency group."""
EVENT: Final = frozenset({"event"})
"""In the `if` of an event, and in the `with` of one that starts runs."""
NOWHERE: Final[frozenset[str]] = frozenset()
"""In the inputs of a schedule."""

WHERE: Final = {
    "inputs": "does not exist here: there is no run yet",
    "steps": "does not exist here: no step has begun",
    "run": "does not exist here: there is no run yet",
    "env": "exists only in steps and `outputs`",
    "item": "exists only in the `with` of a step that has `for-each`, and in what it waits for",
    "index": "exists only in the `with` of a step that has `for-each` or `loop`, in what it waits for, and in `until`",
    "success": "exists only in `if`",
    "failure": "exists only in `if`",
    "event": "exists only in the `if` of an event, and in the `with` of one that starts runs",
    "output": "exists only in `loop`, in the `with` of a step that has one, and in the `with` of `compensate`",
    "secrets": "exists only in `env` and in the `with` of a `call`: elsewhere it would be kept on record",
}
"""What a message says of a name that a place does not offer."""
