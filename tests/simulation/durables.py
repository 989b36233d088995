"""A durable function in a schedule: programs by chance for it, and the instances of its agent. Its code is run as agents run it."""

import random
from collections.abc import Collection, Sequence
from typing import Any, Final

import parade
from parade.durable.definition import function_of
from parade.durable.journal import AGAIN
from parade.durable.turns import Turns
from parade.hosting.failures import failure_of
from parade.wire.errors import ParadeError
from parade.wire.log import Log
from parade_scheduler.document import Document
from parade_scheduler.ports import DurableFunction
from tests.simulation.workflows import SIGNALS

NAME: Final = "shop.perform"
"""The full name of the durable function."""
INSTANCES: Final = 3


@parade.workflow
async def perform(ctx: parade.WorkflowContext, program: list[Any]) -> Any:
    """Does one thing after the other, some of them several at once, and returns what came of them."""
    account: list[Any] = []

    async def do(thing: list[Any]) -> Any:
        match thing:
            case ["call", function, retry]:
                return await ctx.call(function, before=len(account), timeout=20, retry=parade.Retry(**retry))
            case ["run", workflow]:
                return await ctx.run(workflow)
            case ["timer", seconds]:
                return await ctx.sleep(seconds)
            case ["signal", name]:
                return await ctx.wait_signal(name, timeout=30)
            case ["approval"]:
                return (await ctx.wait_approval("Well?", timeout=40)).by
        raise ValueError(thing)

    for how, things in program:
        try:
            if how == "race":
                winner = await ctx.race(*map(do, things))
                account.append([winner.index, winner.value])
            else:
                account.append(await ctx.gather(*map(do, things)))
        except ParadeError as error:
            if how == "all":
                raise
            account.append(error.reason.value)
    return account


def program(chance: random.Random, workflows: Sequence[str]) -> list[Any]:
    """Makes a program that may run some workflows."""
    return [
        [chance.choice(("all", "some", "race")), [_thing(chance, workflows) for _ in range(chance.randint(1, 3))]]
        for _ in range(chance.randint(1, 4))
    ]


def _thing(chance: random.Random, workflows: Sequence[str]) -> list[Any]:
    match chance.choice(("call", "call", "call", "run", "timer", "signal", "approval")):
        case "run" if workflows:
            return ["run", chance.choice(workflows)]
        case "timer":
            return ["timer", chance.choice((1, 3, 12))]
        case "signal":
            return ["signal", chance.choice(SIGNALS)]
        case "approval":
            return ["approval"]
    return ["call", chance.choice(("shop.pure", "shop.effect")), {"attempts": chance.randint(1, 3), "delay": "200ms"}]


class Functions:
    """An agent_manager that knows of the durable function alone; others are not looked up here."""

    async def registered(self, namespace: str, principal: str, agents: Collection[str]) -> frozenset[str]:
        """Returns none."""
        return frozenset()

    async def first(self, namespace: str, principal: str) -> frozenset[str]:
        """Returns none."""
        return frozenset()

    async def durable(self, namespace: str, full_name: str) -> DurableFunction | None:
        """Returns the durable function."""
        function = function_of(perform)
        return DurableFunction(function.description, function.arguments_schema) if full_name == NAME else None


def played(run: str, journal: bytes) -> Document | ParadeError:
    """Returns what the function gives where it is played from its first line with all that is on record."""
    turns = Turns()
    try:
        return Document(turns.take(turns.prepare(function_of(perform), run, journal, Log)))
    except Exception as error:  # noqa: BLE001  # whatever it raises is its failure
        return failure_of(error)


class Instances:
    """The instances of the agent, each with what it keeps of runs.

    Attributes:
        faults: Who gave another answer than before though the function had heard of the same, wherever and however often that was.
    """

    def __init__(self) -> None:
        """Starts with nothing kept."""
        self.faults: list[str] = []
        self._instances = [Turns() for _ in range(INSTANCES)]
        self._answers: dict[tuple[str, int | None], bytes] = {}
        """By run, and the newest end that the function had heard of; None where it has returned."""

    def lose(self, instance: int) -> None:
        """Has an instance lose what it keeps."""
        self._instances[instance].close()

    def take(self, instance: int, run: str, arguments: bytes) -> Document | ParadeError:
        """Takes a turn, and returns what comes of it."""
        turns = self._instances[instance]
        try:
            answer = turns.take(turns.prepare(function_of(perform), run, arguments, Log))
        except Exception as error:  # noqa: BLE001  # as an agent takes it
            return failure_of(error)
        document = Document(answer)
        before = answer if answer == AGAIN else self._answers.setdefault((run, document.value.get("seen")), answer)
        if before != answer:
            self.faults.append(f"{run} answers a turn with {answer!r} after {before!r}")
        return document
