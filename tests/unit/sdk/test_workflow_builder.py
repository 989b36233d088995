"""Workflows written in Python: the same document as YAML's."""

from datetime import UTC, datetime

import pytest

import parade
from parade_scheduler.language import read
from tests.unit.scheduler.documents import refusals

YAML = """\
name: close-books
description: Closes the books of a shop.
on:
  manual: false
  schedule: {cron: "30 2 * * *", time-zone: Europe/Berlin, inputs: {shop: north}}
  event:
    - {type: shop.closed, if: event.orders > 0, with: {shop: "${{ event.shop }}"}}
    - {type: shop.moved, with: "${{ event }}"}
inputs:
  shop: {type: string}
env: {LEDGER: "ledgers/${{ inputs.shop }}", TOKEN: "${{ secrets.bank_token }}"}
concurrency: {group: "books of ${{ inputs.shop }}", limit: 2, cancel-in-progress: true}
priority: 10
timeout: 2d
steps:
  reserve:
    call: bank.reserve
    with: {ledger: "${{ env.LEDGER }}", token: "${{ env.TOKEN }}"}
    compensate: {call: bank.release, with: {id: "${{ output.id }}"}, retry: {attempts: 3}, timeout: 1m}
  settled:
    call: bank.status
    needs: [reserve]
    with: {id: "${{ steps.reserve.output.id }}", turn: "${{ index }}"}
    loop: {until: output.state == "SETTLED", limit: 100}
    retry: {attempts: 5, delay: 2s, jitter: 0.5, on: [AGENT_ERROR], never: [ValueError]}
  approved:
    description: Somebody looks at it.
    needs: [settled]
    wait: {approval: {approvers: ["spiffe://parade.local/ns/default/client/*"], message: "Close ${{ steps.settled.output.name }}?"}}
    timeout: 8h
  withdrawn: {wait: {signal: {name: withdraw, schema: {type: string}}}, needs: [settled]}
  stopped: {wait: {signal: stop}}
  moved: {wait: {event: {type: shop.moved, if: event.shop == inputs.shop}}}
  any: {wait: {event: shop.burnt}}
  late: {wait: {timer: 1d}}
  later: {wait: {timer: {until: "2027-01-01T00:00:00+00:00"}}}
  asked: {wait: {approval: {}}}
  decided: {race: [approved, withdrawn, stopped, moved, any, late, later, asked]}
  report:
    run: prices
    needs: [decided]
    if: ${{ steps.decided.output.step == "approved" }}
    when: success
    with: {shops: ["${{ inputs.shop }}"]}
  tell:
    call: office.write
    needs: [reserve, report]
    when: always
    for-each: []
    with: {text: "${{ item }} of ${{ steps.reserve.output.id }}"}
outputs: {report: "${{ steps.report.output }}"}
"""


def close_books() -> parade.Workflow:
    flow = parade.Workflow(
        "close-books",
        description="Closes the books of a shop.",
        inputs={"shop": {"type": "string"}},
        timeout="2d",
        on=[
            parade.Schedule("30 2 * * *", "Europe/Berlin", inputs={"shop": "north"}),
            parade.Trigger("shop.closed", {"shop": parade.EVENT.shop}, condition="event.orders > 0"),
            parade.Trigger("shop.moved", parade.EVENT),
        ],
        manual=False,
        env={"LEDGER": f"ledgers/{parade.INPUTS.shop}", "TOKEN": parade.SECRETS.bank_token},
        concurrency=parade.Concurrency(f"books of {parade.INPUTS.shop}", limit=2, cancel_in_progress=True),
        priority=10,
    )
    reserve = flow.step(
        "reserve",
        "bank.reserve",
        {"ledger": flow.env.LEDGER, "token": flow.env.TOKEN},
        compensate=parade.Compensation("bank.release", {"id": parade.OUTPUT.id}, retry=parade.Retry(3), timeout="1m"),
    )
    settled = flow.step(
        "settled",
        "bank.status",
        {"id": reserve.output.id, "turn": parade.INDEX},
        loop=parade.Loop('output.state == "SETTLED"', 100),
        retry=parade.Retry(5, "2s", jitter=0.5, on=["AGENT_ERROR"], never=["ValueError"]),
    )
    approved = flow.wait_for_approval(
        "approved",
        approvers=["spiffe://parade.local/ns/default/client/*"],
        message=f"Close {settled.output.name}?",
        timeout="8h",
        description="Somebody looks at it.",
    )
    racers = [
        approved,
        flow.wait_for_signal("withdrawn", "withdraw", schema={"type": "string"}, needs=[settled]),
        flow.wait_for_signal("stopped", "stop"),
        flow.wait_for_event("moved", "shop.moved", that="event.shop == inputs.shop"),
        flow.wait_for_event("any", "shop.burnt"),
        flow.sleep("late", "1d"),
        flow.sleep("later", until=datetime(2027, 1, 1, tzinfo=UTC)),
        flow.wait_for_approval("asked"),
    ]
    decided = flow.race("decided", racers)
    won = parade.Expression('steps.decided.output.step == "approved"')
    report = flow.run("report", "prices", {"shops": [flow.inputs.shop]}, condition=won, when="success")
    flow.step("tell", "office.write", {"text": f"{parade.ITEM} of {reserve.output.id}"}, needs=[report], when="always", for_each=[])
    flow.output("report", report.output)
    assert decided.id == "decided"
    return flow


def test_a_workflow_in_python_is_the_one_in_yaml() -> None:
    flow = close_books()

    assert read(flow.to_yaml()).canonical == read(YAML).canonical
    assert refusals(flow.to_document()) == []


@pytest.mark.parametrize(
    ("condition", "needs"),
    [
        ("steps.first.output > 1", ["first"]),
        (parade.Expression("steps.first.output > size(steps.second.output)"), ["first", "second"]),
        ('inputs.text == "steps of a stair"', []),
    ],
)
def test_a_step_needs_what_its_condition_speaks_of(condition: parade.Expression | str, needs: list[str]) -> None:
    flow = parade.Workflow("flow", inputs={"text": {}})
    flow.step("first", "a.b")
    flow.step("second", "a.b")
    flow.step("last", "a.b", {"note": "steps.second is only talked about"}, condition=condition)

    assert flow.to_document()["steps"]["last"].get("needs", []) == needs
    read(flow.to_yaml())


def test_a_loop_needs_what_its_end_speaks_of() -> None:
    flow = parade.Workflow("flow")
    first = flow.step("first", "a.b")
    flow.step("turn", "a.b", loop=parade.Loop(f"output == {'steps.first.output'}", 3))
    flow.sleep("nap", first.output.seconds)

    steps = flow.to_document()["steps"]
    assert (steps["turn"]["needs"], steps["nap"]["needs"]) == (["first"], ["first"])
    assert steps["nap"]["wait"] == {"timer": "${{ steps.first.output.seconds }}"}


def test_a_step_cannot_be_added_twice() -> None:
    flow = parade.Workflow("flow")
    flow.step("one", "a.b")

    with pytest.raises(ValueError, match="a step 'one' already"):
        flow.sleep("one", "1s")


@pytest.mark.parametrize("given", [{}, {"duration": "5m", "until": "2027-01-01T00:00:00Z"}])
def test_a_step_sleeps_for_a_duration_or_until_a_time(given: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="either for a duration or until a time"):
        parade.Workflow("flow").sleep("nap", **given)  # type: ignore[arg-type]
