"""What starts runs, in which groups they go on, and which come first."""

import json

import pytest

from parade_scheduler.expression import Expression
from parade_scheduler.language import Definition
from parade_scheduler.language.definition import Concurrency, Schedule
from parade_scheduler.language.template import Template
from tests.unit.scheduler.documents import read


def top(words: str) -> Definition:
    """Returns a definition with these words at its top."""
    return read(f"name: flow\ninputs: {{shop: {{type: string, required: false}}}}\nsteps: {{a: {{call: a.b}}}}\n{words}\n")


def test_a_workflow_is_started_by_hand_where_nothing_is_said() -> None:
    definition = top("")

    assert definition.manual
    assert (definition.schedules, definition.triggers, definition.concurrency, definition.priority) == ((), (), None, 0)


@pytest.mark.parametrize(
    ("words", "manual"),
    [("on:", True), ("on: {}", True), ("on: {manual: false}", False), ("on: {manual: true}", True), ("on: {event: {type: e}}", True)],
)
def test_it_may_be_said_that_nobody_starts_it_by_hand(words: str, *, manual: bool) -> None:
    assert top(words).manual == manual


def test_schedules_may_be_one_or_several() -> None:
    one = top("on: {schedule: {cron: '30 2 * * *'}}")
    several = top(
        """on:
  schedule:
    - {cron: 0 0 L * *, time-zone: Europe/Berlin, catch-up: all, inputs: {shop: north}}
    - {cron: '*/5 * * * MON-FRI', catch-up: none}"""
    )

    assert one.schedules == (Schedule("30 2 * * *"),)
    assert several.schedules == (
        Schedule("0 0 L * *", "Europe/Berlin", "all", Template({"shop": "north"})),
        Schedule("*/5 * * * MON-FRI", catch_up="none"),
    )


def test_an_event_may_give_the_inputs() -> None:
    definition = top(
        """on:
  event:
    - {type: shop.closed, if: event.orders > 0, with: {shop: '${{ event.shop }}'}}
    - {type: shop.moved, with: '${{ event }}'}"""
    )

    closed, moved = definition.triggers
    assert isinstance(closed.event.condition, Expression)
    assert closed.event.condition.evaluate({"event": {"orders": 1}}) is True
    assert closed.inputs.fill({"event": {"shop": "north"}}, "") == {"shop": "north"}
    assert moved.inputs.fill({"event": {"shop": "south"}}, "") == {"shop": "south"}


@pytest.mark.parametrize("word", ["on", "true", "True"])
def test_a_program_that_follows_yaml_1_1_may_write_on_as_true(word: str) -> None:
    steps = {"a": {"call": "a.b", "with": {"true": 1}}}

    definition = read(json.dumps({"name": "flow", word: {"manual": False}, "steps": steps}))

    assert not definition.manual
    assert definition.steps["a"].arguments.value == {"true": 1}
    assert definition.hash == read(json.dumps({"name": "flow", "on": {"manual": False}, "steps": steps})).hash


def test_runs_may_go_on_in_groups() -> None:
    named = top("concurrency: books").concurrency
    whole = top("concurrency: {group: 'books of ${{ inputs.shop }}', limit: 3, cancel-in-progress: true}").concurrency

    assert named == Concurrency(Template("books"))
    assert whole is not None
    assert (whole.limit, whole.cancel_in_progress) == (3, True)
    assert whole.group.fill({"inputs": {"shop": "north"}}, "") == "books of north"


@pytest.mark.parametrize("priority", [-100, 0, 100])
def test_a_workflow_may_have_a_priority(priority: int) -> None:
    assert top(f"priority: {priority}").priority == priority


def test_the_secrets_that_a_workflow_speaks_of_are_known() -> None:
    definition = read(
        """name: a
env: {URL: "https://${{ secrets.host }}/"}
steps:
  a:
    call: a.b
    with: {t: "${{ secrets.token }}", u: "${{ env.URL }}"}
    compensate: {call: a.c, with: {t: "${{ secrets['old-token'] }}"}}
"""
    )

    assert definition.secrets == {"host", "token", "old-token"}
    assert definition.env["URL"].fill({"secrets": {"host": "bank"}}, "") == "https://bank/"
