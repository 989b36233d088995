"""Durable functions as workflows: who knows them, and what their runs may be given."""

import asyncio
from collections.abc import Collection
from datetime import datetime
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

import parade
from parade.durable.definition import function_of
from parade.wire.errors import ParadeError, Reason
from parade_chassis.clock import ManualClock
from parade_scheduler.definitions.durables import FRESH, Durables, definition_of
from parade_scheduler.ports import DurableFunction


class Guest(BaseModel):
    name: Annotated[str, Field(pattern=r"^[A-Z]\w+$", max_length=40)]
    age: int | None = None
    friends: "list[Guest]" = []


@parade.workflow
async def trip(
    ctx: parade.WorkflowContext,
    city: str,
    guests: list[Guest],
    start: datetime | None = None,
    kind: Literal["work", "fun"] = "fun",
    extras: dict[str, float | list[str]] | None = None,
) -> None:
    """Goes away."""


FUNCTION = DurableFunction("Goes away.", function_of(trip).arguments_schema)


class Agents:
    """What agents have registered."""

    def __init__(self) -> None:
        self.durables = {("default", "travel.trip"): FUNCTION}
        self.asked = 0

    async def registered(self, namespace: str, principal: str, agents: Collection[str]) -> frozenset[str]:
        return frozenset()

    async def first(self, namespace: str, principal: str) -> frozenset[str]:
        return frozenset()

    async def durable(self, namespace: str, full_name: str) -> DurableFunction | None:
        self.asked += 1
        return self.durables.get((namespace, full_name))


def faults(given: Any) -> dict[str, str]:
    with pytest.raises(ParadeError) as raised:
        definition_of("travel.trip", FUNCTION).inputs.complete(given)
    assert raised.value.reason is Reason.INVALID_ARGUMENTS
    return {violation.field: violation.description for violation in raised.value.violations}


async def test_a_function_that_an_agent_has_registered_is_a_workflow() -> None:
    durables = Durables(Agents(), ManualClock())

    workflow = await durables.workflow("default", "travel.trip")
    definition = await durables.definition("default", "travel.trip")

    assert (workflow.name, workflow.version, workflow.description) == ("travel.trip", 0, "Goes away.")
    assert definition.durable
    assert [(step.id, step.call) for step in definition.steps.values()] == [("main", "travel.trip")]


@pytest.mark.parametrize(("namespace", "name"), [("default", "travel.other"), ("other", "travel.trip")])
async def test_what_no_agent_of_the_namespace_has_registered_is_not_there(namespace: str, name: str) -> None:
    with pytest.raises(ParadeError, match=f"namespace `{namespace}` has registered a durable function `{name}`") as raised:
        await Durables(Agents(), ManualClock()).workflow(namespace, name)

    assert raised.value.reason is Reason.NOT_FOUND


async def test_a_function_has_no_versions() -> None:
    with pytest.raises(ParadeError, match=r"`travel.trip` has no version 3") as raised:
        await Durables(Agents(), ManualClock()).workflow("default", "travel.trip", 3)

    assert raised.value.reason is Reason.NOT_FOUND


async def test_nobody_is_asked_twice_within_a_moment_and_what_changed_is_seen_after_it() -> None:
    agents, clock = Agents(), ManualClock()
    durables = Durables(agents, clock)
    first, *others = await asyncio.gather(*(durables.definition("default", "travel.trip") for _ in range(10)))
    assert all(other is first for other in others)
    await durables.definition("default", "travel.trip")
    assert agents.asked == 1
    await clock.advance(FRESH)
    assert await durables.definition("default", "travel.trip") is first
    agents.durables["default", "travel.trip"] = DurableFunction("", b'{"properties": {"arguments": {"type": "object"}}}')
    await clock.advance(FRESH)

    assert await durables.definition("default", "travel.trip") is not first
    assert agents.asked == 3


async def test_who_goes_away_takes_the_answer_from_nobody() -> None:
    durables = Durables(Agents(), ManualClock())
    hasty = asyncio.create_task(durables.definition("default", "travel.trip"))
    patient = asyncio.create_task(durables.definition("default", "travel.trip"))
    await asyncio.sleep(0)

    hasty.cancel()

    assert (await patient).durable


def test_inputs_that_fit_are_taken_as_they_are() -> None:
    given = {"city": "Rome", "guests": [{"name": "Ana", "friends": [{"name": "Ben", "age": 5}]}], "extras": {"sun": 1.5, "bags": ["a"]}}

    assert definition_of("travel.trip", FUNCTION).inputs.complete(given) is given


def test_every_input_that_does_not_fit_is_named() -> None:
    found = faults({"town": 1, "guests": [{"name": "ana"}, {"name": "Ben", "friends": [{"age": 5}]}], "kind": "rest"})

    assert found.keys() == {"inputs.town", "inputs.city", "inputs.guests[0].name", "inputs.guests[1].friends[0]", "inputs.kind"}
    assert found["inputs.city"] == "this input is required"
    assert found["inputs.town"] == "there is no such input; there are: city, extras, guests, kind, start"


@pytest.mark.parametrize("given", [None, [], "Rome", 5])
def test_inputs_are_an_object(given: Any) -> None:
    assert faults(given).keys() == {"inputs"}


async def test_runs_to_come_and_runs_that_go_on_wait_for_their_agent_as_long_as_is_set() -> None:
    durables = Durables(Agents(), ManualClock(), patience=86_400.0)

    definitions = [durables.begun("travel.trip"), await durables.definition("default", "travel.trip")]

    assert [definition.steps["main"].patience for definition in definitions] == [86_400.0, 86_400.0]


def test_a_run_that_goes_on_needs_nothing_of_who_registered_it() -> None:
    assert definition_of("travel.trip").steps["main"].call == "travel.trip"
