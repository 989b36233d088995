"""Durable functions as workflows. Nothing of them is stored: their definition is their code, and an agent has registered the rest."""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import orjson

from parade.wire.errors import ParadeError, Reason, Violation, invalid
from parade_chassis.clock import Clock
from parade_scheduler.decider.turns import MAIN
from parade_scheduler.document import type_name
from parade_scheduler.language import Definition, Retry, StepDefinition, Template
from parade_scheduler.language.inputs import Inputs, validator, violations
from parade_scheduler.model import Workflow
from parade_scheduler.ports import DurableFunction, Functions
from parade_scheduler.refusal import refused

if TYPE_CHECKING:
    import jsonschema_rs

CAPACITY: Final = 1_024
"""How many are kept."""
FRESH: Final = 2.0
"""Seconds for which what an agent registered is taken to be so."""
PATIENCE: Final = 7 * 86_400.0
"""Seconds for which a function waits for an instance of its agent, where nothing else is set."""
RETRY: Final = Retry(attempts=3, on=frozenset({Reason.DEADLINE_EXCEEDED.value}))
"""A turn that misses its deadline was with an instance that hangs, or its code does; what the code raises is the run's end."""
VERSION: Final = 0
"""The version of every durable function: its runs go on with the code there is."""

_ARGUMENTS: Final = ".arguments"


@dataclass(frozen=True)
class DurableInputs(Inputs):
    """The inputs of a durable function: its arguments."""

    schema: bytes = b""
    """The JSON Schema of a turn's arguments, around that of the function's own."""

    @cached_property
    def _turn(self) -> "jsonschema_rs.Validator":
        schema: Mapping[str, Any] = orjson.loads(self.schema)
        return validator(schema)

    def complete(self, given: Any) -> dict[str, Any]:
        """Checks what a run was given. What is left out is left to the function's own defaults.

        Raises:
            ParadeError: INVALID_ARGUMENTS, naming every input that is missing, unknown or outside its schema.
        """
        if not isinstance(given, dict):
            raise invalid([Violation("inputs", f"the inputs are an object, this is {type_name(given)}")])
        turn = {"arguments": given, "journal": [], "seen": 0, "time": 0}
        found = violations(self._turn, turn, "")
        if found:
            within = [
                Violation(f"inputs{fault.field.removeprefix(_ARGUMENTS)}", fault.description)
                for fault in found
                if fault.field != _ARGUMENTS
            ]
            raise refused([*self._misnamed(given), *within] or found, "the inputs do not fit the workflow")
        return given

    def _misnamed(self, given: Mapping[str, Any]) -> list[Violation]:
        """Returns a fault for every input that is unknown or missing."""
        own = orjson.loads(self.schema).get("properties", {}).get("arguments", {})
        known = own.get("properties", {})
        expected = ", ".join(sorted(known)) or "none"
        return [
            *(Violation(f"inputs.{name}", f"there is no such input; there are: {expected}") for name in given if name not in known),
            *(Violation(f"inputs.{name}", "this input is required") for name in own.get("required", ()) if name not in given),
        ]


def is_durable(workflow: str) -> bool:
    """Tells whether a workflow goes by the full name of a function; names of stored ones have no dot."""
    return "." in workflow


def definition_of(name: str, function: DurableFunction | None = None, patience: float = PATIENCE) -> Definition:
    """Returns what the decider works from.

    Args:
        name: The full name of the function.
        function: What was registered, where a run is to be started; one that goes on needs nothing of it.
        patience: How long a turn is tried again while nobody can take it, in seconds.
    """
    return Definition(
        name=name,
        description="" if function is None else function.description,
        inputs=Inputs() if function is None else DurableInputs(schema=function.arguments_schema),
        steps={MAIN: StepDefinition(id=MAIN, call_line=0, call=name, arguments=Template({}), retry=RETRY, patience=patience)},
        outputs=Template({}),
        timeout=None,
        canonical=name.encode(),
        durable=True,
    )


class Durables:
    """The durable functions that agents have registered."""

    def __init__(self, functions: Functions, clock: Clock, patience: float = PATIENCE) -> None:
        """Takes who knows functions, the time, and how many seconds a function waits for an instance of its agent."""
        self._functions = functions
        self._clock = clock
        self._patience = patience
        self._asking: dict[tuple[str, str], asyncio.Future[Definition]] = {}
        self._known: OrderedDict[tuple[str, str], tuple[Definition, float]] = OrderedDict()

    async def workflow(self, namespace: str, name: str, version: int = VERSION) -> Workflow:
        """Returns what there is instead of a stored workflow.

        Raises:
            ParadeError: NOT_FOUND; UNAVAILABLE, where nobody can be asked.
        """
        if version != VERSION:
            raise ParadeError(Reason.NOT_FOUND, f"the durable function `{name}` has no version {version}: it runs with the code there is")
        definition = await self.definition(namespace, name)
        return Workflow(namespace, name, VERSION, definition.hash, definition.description, "", self._clock.now())

    def begun(self, name: str) -> Definition:
        """Returns the definition of a function for a run that has begun, which needs nothing of what is registered now."""
        return definition_of(name, patience=self._patience)

    async def definition(self, namespace: str, name: str) -> Definition:
        """Returns the definition of a function, with the inputs that it takes.

        Raises:
            ParadeError: NOT_FOUND; UNAVAILABLE, where nobody can be asked.
        """
        key = (namespace, name)
        known = self._known.get(key)
        if known is not None and self._clock.monotonic() - known[1] < FRESH:
            return known[0]
        asking = self._asking.get(key)
        if asking is None:
            asking = self._asking[key] = asyncio.ensure_future(self._ask(namespace, name))
            asking.add_done_callback(lambda done: self._asked(key, done))
        # Whoever goes away does not take the answer from the others.
        return await asyncio.shield(asking)

    async def _ask(self, namespace: str, name: str) -> Definition:
        known = self._known.get((namespace, name))
        function = await self._functions.durable(namespace, name)
        if function is None:
            message = f"no agent of the namespace `{namespace}` has registered a durable function `{name}`; start its agent first"
            raise ParadeError(Reason.NOT_FOUND, message)
        # Compiling a schema costs more than comparing it.
        if known is not None and known[0].inputs == DurableInputs(schema=function.arguments_schema):
            definition = known[0]
        else:
            definition = definition_of(name, function, self._patience)
        self._known[namespace, name] = definition, self._clock.monotonic()
        self._known.move_to_end((namespace, name))
        if len(self._known) > CAPACITY:
            self._known.popitem(last=False)
        return definition

    def _asked(self, key: tuple[str, str], done: "asyncio.Future[Definition]") -> None:
        del self._asking[key]
        if not done.cancelled():
            done.exception()  # has been looked at, though everybody has gone away
