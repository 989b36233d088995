"""Steps that wait, race, run other workflows, turn and are undone."""

from typing import Any

import pytest

from parade_scheduler.expression import Expression
from parade_scheduler.language import StepDefinition, Template
from parade_scheduler.language.definition import Approval, Event, Loop, Signal, Timer
from parade_scheduler.model import Kind
from tests.unit.scheduler.documents import faults, read, step


def only(words: str) -> StepDefinition:
    """Returns the step of these words."""
    return read(step(words)).steps["x"]


@pytest.mark.parametrize(
    ("wait", "kind", "expected"),
    [
        ("{approval: }", Kind.APPROVAL, Approval()),
        ("{approval: {}}", Kind.APPROVAL, Approval()),
        (
            "{approval: {approvers: spiffe://a/ns/b/client/*, message: Shall we?}}",
            Kind.APPROVAL,
            Approval(("spiffe://a/ns/b/client/*",), Template("Shall we?")),
        ),
        (
            "{approval: {approvers: ['key:4fJk29sLq0', 'oidc:https://id.example/realm#4*']}}",
            Kind.APPROVAL,
            Approval(("key:4fJk29sLq0", "oidc:https://id.example/realm#4*")),
        ),
        ("{signal: go-on}", Kind.SIGNAL, Signal("go-on")),
        ("{signal: {name: go, schema: {type: string}}}", Kind.SIGNAL, Signal("go", {"type": "string"})),
        ("{timer: 1h30m}", Kind.TIMER, Timer(duration=Template("1h30m"))),
        ("{timer: {for: 5m}}", Kind.TIMER, Timer(duration=Template("5m"))),
        ("{timer: {until: '2026-12-24T18:00:00+01:00'}}", Kind.TIMER, Timer(until=Template("2026-12-24T18:00:00+01:00"))),
        ("{event: order.paid}", Kind.EVENT, Event("order.paid")),
    ],
)
def test_a_step_may_wait(wait: str, kind: Kind, expected: Any) -> None:
    found = only(f"wait: {wait}\ntimeout: 8h" if kind is not Kind.TIMER else f"wait: {wait}")

    assert (found.kind, found.call, found.wait) == (kind, "", expected)
    assert found.timeout == (None if kind is Kind.TIMER else 8 * 3600)


@pytest.mark.parametrize(
    "timer",
    [
        "${{ inputs.wait }}",
        "${{ inputs.days }}d",
        "{for: '${{ inputs.wait }}'}",
        "{until: '${{ inputs.time }}'}",
        "{until: '${{ inputs.day }}T00:00:00Z'}",
    ],
)
def test_a_timer_may_be_computed(timer: str) -> None:
    source = step(f"wait: {{timer: {timer}}}") if timer.startswith("{") else step(f"wait: {{timer: '{timer}'}}")

    wait = read(source + "inputs: {wait: {}, days: {}, time: {}, day: {}}\n").steps["x"].wait

    assert isinstance(wait, Timer)
    template = wait.until if wait.until is not None else wait.duration
    assert template is not None
    assert template.fill({"inputs": {"wait": 5, "days": 2, "time": "t", "day": "d"}}, "") in (5, "2d", "t", "dT00:00:00Z")


def test_an_event_may_be_chosen_by_what_it_says() -> None:
    wait = only("wait: {event: {type: order.paid, if: event.order == steps.before.output.id}}\nneeds: before").wait

    assert isinstance(wait, Event)
    assert isinstance(wait.condition, Expression)
    assert wait.condition.evaluate({"event": {"order": 5}, "steps": {"before": {"output": {"id": 5}}}}) is True


def test_a_wait_may_be_for_each_item() -> None:
    found = only("wait: {approval: {message: 'Is ${{ item }} number ${{ index }}?'}}\nfor-each: [a, b]\nmax-parallel: 2")

    assert isinstance(found.wait, Approval)
    assert found.wait.message.fill({"item": "a", "index": 0}, "") == "Is a number 0?"
    assert found.max_parallel == 2


def test_a_step_may_run_another_workflow() -> None:
    definition = read(step("run: other-flow\nwith: {a: 1}\nretry: {attempts: 2}\ncompensate: {run: undo-flow}"))

    found = definition.steps["x"]
    assert (found.kind, found.call, found.arguments.value, found.retry.attempts) == (Kind.RUN, "other-flow", {"a": 1}, 2)
    assert definition.workflows == {"other-flow": [("steps.x.run", 5)], "undo-flow": [("steps.x.compensate.run", 8)]}
    assert definition.functions == {"a.b": [("steps.before.call", 3)]}


def test_a_race_needs_its_steps() -> None:
    definition = read(
        step(
            "race: [before, other]",
            "  other: {wait: {timer: 1s}}\n  after: {call: a.b, needs: x, with: {k: '${{ steps.x.output.step }}'}}\n",
        )
    )

    race = definition.steps["x"]
    assert (race.kind, race.needs, race.race, race.call) == (Kind.RACE, ("before", "other"), ("before", "other"), "")
    assert definition.needed_by["other"] == ("x",)


@pytest.mark.parametrize(
    ("spoken_of", "known"),
    [("common", True), ("before", False), ("left", False), ("right", False), ("x", True)],
)
def test_after_a_race_only_what_each_racer_needs_has_ended(spoken_of: str, *, known: bool) -> None:
    head = (
        "  common: {call: a.b}\n  left: {call: a.b, needs: [before, common]}\n  right: {call: a.b, needs: common}\n"
        f"  after: {{call: a.b, needs: x, with: {{k: '${{{{ steps.{spoken_of}.output }}}}'}}}}\n"
    )
    source = step("race: [left, right]", head)

    if known:
        assert read(source).steps["after"].needs == ("x",)
    else:
        assert [(field, f"add `{spoken_of}`" in description) for _, field, description in faults(source)] == [("steps.after.with.k", True)]


def test_a_loop_sees_its_turns() -> None:
    found = only(
        "call: a.b\nwith: {turn: '${{ index }}', before: '${{ output }}'}\nloop: {until: 'output.done || index > 5', limit: 10000}"
    )

    assert isinstance(found.loop, Loop)
    assert found.loop.limit == 10_000
    assert found.loop.until.evaluate({"output": {"done": False}, "index": 6}) is True


def test_what_undoes_a_step_sees_its_output_and_every_step() -> None:
    words = """call: a.b
compensate:
  call: a.undo
  with: {id: '${{ output.id }}', after: '${{ steps.after.output }}'}
  retry: {attempts: 9}
  timeout: 1m"""
    definition = read(step(words, "  after: {call: a.b, needs: x}\n"))

    undo = definition.steps["x"].compensation
    assert undo is not None
    assert (undo.id, undo.kind, undo.call, undo.call_line) == ("x.compensate", Kind.CALL, "a.undo", 7)
    assert (undo.retry.attempts, undo.timeout) == (9, 60)
    assert definition.functions["a.undo"] == [("steps.x.compensate.call", 7)]


def test_retries_may_depend_on_what_failed() -> None:
    retry = only("call: a.b\nretry: {attempts: 3, jitter: 0, on: [AGENT_ERROR, TimeoutError], never: Broken}").retry

    assert (set(retry.on), set(retry.never)) == ({"AGENT_ERROR", "TimeoutError"}, {"Broken"})
    assert retry.backoff.jitter == 0


BINDINGS = {"yes": {"failure": True, "inputs": {"a": 1}}, "no": {"failure": False, "inputs": {"a": 1}}}


@pytest.mark.parametrize(
    ("words", "decides_alone", "met"),
    [
        ("", False, (None, None)),
        ("when: success", False, (None, None)),
        ("when: success\nif: failure", False, (True, False)),
        ("when: success\nif: inputs.a == 1", False, (True, True)),
        ("when: failure", True, (True, False)),
        ("when: failure\nif: true", True, (True, False)),
        ("when: failure\nif: inputs.a == 2 // not now", True, (False, False)),
        ("when: failure\nif: inputs.a == 1 || true // always", True, (True, False)),
        ("when: failure\nif: false", False, (False, False)),
        ("when: always", True, (True, True)),
        ("when: always\nif: inputs.a == 1", True, (True, True)),
        ("when: always\nif: ${{ inputs.a == 2 }}", True, (False, False)),
        ("if: true", True, (True, True)),
        ("if: 'true'", True, (True, True)),
        ("if: failure", True, (True, False)),
        ("if: inputs.a == 1", False, (True, True)),
    ],
)
def test_when_and_if_must_both_hold(words: str, met: tuple[bool | None, bool | None], *, decides_alone: bool) -> None:
    found = read(step(f"call: a.b\n{words}".rstrip()) + "inputs: {a: {}}\n").steps["x"]

    assert found.decides_alone == decides_alone
    for name, expected in zip(BINDINGS, met, strict=True):
        condition = found.condition
        assert (condition.evaluate(BINDINGS[name]) if isinstance(condition, Expression) else condition) == expected
