"""By which value an event is told apart: what is left out is never wanted, whatever the condition and the event."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parade.wire.errors import ParadeError
from parade_scheduler.expression import Expression
from parade_scheduler.expression.correlation import MAX_TERMS, correlation, term, terms

BINDINGS: dict[str, Any] = {"inputs": {"order": 7, "name": "a && b", "none": None}, "steps": {"a": {"output": {"id": 1.5}}}}


def wanted(condition: str) -> str:
    found = correlation(condition)
    return "" if found is None else found.term(BINDINGS)


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("event.order == inputs.order", "order=7.0"),
        ("inputs.order == event.order", "order=7.0"),
        ("event.amount > 5 && event.order == inputs.order", "order=7.0"),
        ("event.order == inputs.order && event.amount > 5", "order=7.0"),
        ("event.payment.id == steps.a.output.id", "payment.id=1.5"),
        ('event.kind == "paid"', 'kind="paid"'),
        ('event.kind == "a && b || c" && true', 'kind="a && b || c"'),
        ("event.name == inputs.name", 'name="a && b"'),
        ("event.order == inputs.order + 1", "order=8.0"),
        ("event.done == true", "done=true"),
        ("event.done == inputs.none", "done=null"),
    ],
)
def test_a_value_that_must_be_equal_is_found(condition: str, expected: str) -> None:
    assert wanted(condition) == expected


@pytest.mark.parametrize(
    "condition",
    [
        "event.order == inputs.order || event.amount > 5",
        "event.a == 1 ? true : false",
        "true ? event.a == 1 : true",
        "!(event.order == inputs.order)",
        "(event.order == inputs.order) == false",
        "event.order == event.other",
        "event.order != inputs.order",
        "event.order == inputs.missing",
        "event.items == [1, 2]",
        'event["order"] == 1',
        "event.order == env.ORDER",
        "event.order == secrets.token",
        "size(event.items) == 3",
        "event == 3",
        "event.list.all(x, x.a == 1)",
        "true",
    ],
)
def test_nothing_is_made_up(condition: str) -> None:
    assert wanted(condition) == ""


def test_values_that_an_expression_takes_for_equal_have_one_term() -> None:
    assert term(("a",), 1) == term(("a",), 1.0)
    assert term(("a",), 0) == term(("a",), -0.0)
    assert len({term(("a",), value) for value in (1, "1", True, None, 1.5)}) == 5


def test_long_values_are_told_apart_too() -> None:
    long = term(("a",), "x" * 10_000)

    assert len(long) < 200
    assert long != term(("a",), "x" * 10_001)


def test_an_event_with_very_many_values_is_told_to_everybody() -> None:
    assert terms({f"k{number}": number for number in range(MAX_TERMS + 1)}) is None
    assert terms({"a": {"b": 1}, "c": [1, 2], "d": None}) == ["a.b=1.0", "d=null"]
    assert terms(3) == []


VALUES = st.one_of(st.none(), st.booleans(), st.integers(-2, 2), st.sampled_from([0.0, -0.0, 1.0, 1.5]), st.sampled_from(["", "a", "1"]))
PARTS = st.sampled_from(
    [
        "event.a == inputs.a",
        "inputs.b == event.b.c",
        "event.b.c == inputs.a",
        "event.a != inputs.b",
        "event.a == 1",
        'event.a == "a"',
        "(event.a == inputs.a || true)",
        "!(event.a == inputs.b)",
        "true",
        "has(event.a)",
    ]
)


@settings(deadline=None)
@given(
    parts=st.lists(PARTS, min_size=1, max_size=3),
    join=st.sampled_from([" && ", " || "]),
    event=st.one_of(
        VALUES, st.fixed_dictionaries({}, optional={"a": VALUES, "b": st.one_of(VALUES, st.fixed_dictionaries({"c": VALUES}))})
    ),
    a=VALUES,
    b=VALUES,
)
def test_an_event_that_is_left_out_is_never_one_that_the_condition_holds_for(
    parts: list[str], join: str, event: Any, a: Any, b: Any
) -> None:
    condition = join.join(parts)
    bindings = {"inputs": {"a": a, "b": b}}
    found = correlation(condition)
    wants = found.term(bindings) if found is not None else ""
    try:
        holds = Expression(condition).evaluate({**bindings, "event": event}) is True
    except ParadeError:
        holds = False

    has = terms(event)
    if holds:
        assert wants == "" or has is None or wants in has
