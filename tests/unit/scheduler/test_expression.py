"""What expressions compute, what they refuse, and that no expression brings the process down."""

import subprocess
import sys
import textwrap
from typing import Any

import pytest

from parade.wire.errors import ParadeError, Reason
from parade_scheduler.expression import Expression, ExpressionError, end_of_expression

BINDINGS: dict[str, Any] = {
    "inputs": {"count": 1, "nothing": None, "list": [1, 2, {"x": None}], "text": "x", "a-b": 3, "big": 2**64 - 1},
    "steps": {"clean": {"output": {"z": 2, "y": 1}, "state": "SUCCEEDED"}},
    "item": {"name": "q"},
    "index": 4,
    "run": {"id": "run-1"},
}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("inputs.count", 1),
        ("inputs", BINDINGS["inputs"]),
        ("inputs.list[2].x", None),
        ("inputs['a-b'] + 1", 4),
        ("inputs.`a-b`", 3),
        ("inputs.big", 2**64 - 1),
        ("inputs.count + 1", 2),
        ("inputs.list.map(item, item)", [1, 2, {"x": None}]),
        ("[inputs.nothing]", [None]),
        ("inputs.nothing == null", True),
        ("steps.clean.output", {"z": 2, "y": 1}),
        ("{'a': steps.clean.output}", {"a": {"y": 1, "z": 2}}),
        ("has(inputs.missing)", False),
        ("has(inputs.count) ? inputs.count : 0", 1),
        ("'a' + string(index)", "a4"),
        ("steps.clean.state == 'SUCCEEDED'", True),
        ("inputs.list.filter(row, row == inputs.count).size()", 1),
        ("1.5", 1.5),
    ],
)
def test_computes_a_value(text: str, value: Any) -> None:
    assert Expression(text).evaluate(BINDINGS) == value


def test_a_plain_path_keeps_the_order_of_keys() -> None:
    assert list(Expression("steps.clean.output").evaluate(BINDINGS)) == ["z", "y"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("inputs.countt", "there is no `countt` in `inputs`"),
        ("inputs.list[7]", "there is no item 7 in `inputs.list`, which has 3"),
        ("inputs.count.x", "`inputs.count` is a number and has no `x`"),
        ("inputs.countt + 1", "Key not found in map"),
        ("inputs.count + 1.5", "write double"),
        ("1 / 0", "divide by zero"),
        ("1.0 / 0.0", "no JSON number"),
        ("{1: 2}", "keys that are no texts"),
        ("timestamp('2020-01-01T00:00:00Z')", "which JSON does not know"),
        ("b'abc'", "which JSON does not know"),
        ("inputs.text.matches('(')", "invalid regular expression"),
    ],
)
def test_says_why_a_value_cannot_be_computed(text: str, words: str) -> None:
    with pytest.raises(ParadeError) as caught:
        Expression(text).evaluate(BINDINGS)

    assert caught.value.reason is Reason.INVALID_ARGUMENTS
    assert words in caught.value.message
    assert text in caught.value.message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no expression"),
        ("  ", "no expression"),
        ("1 +", "the end comes too early"),
        ("foo", "undeclared reference to 'foo'"),
        ("'a' + 1", "no matching overload"),
        ("inputs.a\n + )", "line 2"),
        ("a" * 5000, "at most 4,096 characters"),
        ("(" * 60 + "1" + ")" * 60, "nested too deeply"),
        ("[" * 2000 + "1" + "]" * 2000, "nested too deeply"),
        ("1" + "+1" * 500, "repeat or join"),
        ("inputs" + ".a" * 1000, "nested too deeply"),
        ("[1]" + ".map(x, [x, x])" * 13, "repeat or join"),
        ("[inputs.text]" + ".map(x, x + x)" * 7, "repeat or join"),
        ("[1].map(x, [x, x].map(y, [y, y, y, y, y, y, y, y].map(z, [z" + ", z" * 300 + "])))", "repeat or join"),
        (r"['a', r'\']" + ".map(x, [x, x])" * 13 + r" == ['\\']", "String must end with"),
        ("(" * 2000 + "a " * 90, "nested too deeply"),
    ],
)
def test_refuses_what_cannot_be_or_could_blow_up(text: str, words: str) -> None:
    with pytest.raises(ExpressionError, match=words):
        Expression(text)


@pytest.mark.parametrize(
    "text", ["inputs.list.map(a, inputs.list.map(b, inputs.list.map(c, 1)))", "inputs.list.all(a, inputs.list.all(b, true))"]
)
def test_a_computation_of_too_many_steps_is_given_up(text: str) -> None:
    with pytest.raises(ParadeError, match="budget"):
        Expression(text).evaluate({"inputs": {"list": list(range(200))}})


def test_a_result_of_too_many_values_is_refused() -> None:
    bindings = {"inputs": {"list": list(range(5_000))}}

    with pytest.raises(ParadeError, match="too large"):
        Expression("[inputs.list, inputs.list].map(x, [" + ", ".join(["x"] * 30) + "])").evaluate(bindings)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("inputs.list.map(i, inputs.text + inputs.text).size()", "may join more than fits"),
        ("[inputs.text].map(t, inputs.list.map(i, t + t)).size()", "may join more than fits"),
        ("inputs.list.map(i, inputs.list + inputs.list).size()", "may join more than fits"),
        ("inputs.list.map(i, inputs.text)", "its texts have more than 4,194,304 characters"),
    ],
)
@pytest.mark.timeout(20)
def test_what_would_not_fit_into_memory_is_given_up(text: str, words: str) -> None:
    with pytest.raises(ParadeError, match=words):
        Expression(text).evaluate({"inputs": {"list": list(range(5_000)), "text": "x" * 200_000}})


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("inputs.list.map(i, string(i) + '!').size()", 5_000),
        ("inputs.list.map(i, inputs.text).size()", 5_000),
        ("inputs.list.filter(i, i + 1 < 3)", [0, 1]),
        ("[inputs.text + inputs.text].size()", 1),
    ],
)
def test_long_lists_and_texts_may_be_worked_on(text: str, value: Any) -> None:
    assert Expression(text).evaluate({"inputs": {"list": list(range(5_000)), "text": "x" * 200_000}}) == value


def test_nulls_do_not_wear_out_the_interpreter() -> None:
    """CEL gives up a reference to None for each null that it converts; a million of them would abort the process."""
    program = """
        import sys
        from parade_scheduler.expression import Expression
        bindings = {"inputs": {"nulls": [None] * 1000, "one": None}}
        before = sys.getrefcount(None)
        for _ in range(100):
            assert Expression("inputs.nulls.map(x, x)").evaluate(bindings) == [None] * 1000
            assert Expression("[inputs.one, {'a': null}]").evaluate(bindings) == [None, {"a": None}]
            assert Expression("inputs.one == null ? null : dyn(1)").evaluate(bindings) is None
        assert sys.getrefcount(None) > before - 1000, sys.getrefcount(None) - before
    """
    result = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=30, check=False)

    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("depth", [200, 1000])
def test_a_deeply_nested_value_passes_or_is_refused(depth: int) -> None:
    value: Any = 1
    for _ in range(depth):
        value = [value]

    assert Expression("size(inputs.deep) == 1").evaluate({"inputs": {"deep": value}}) is True
    with pytest.raises(ParadeError, match="nested more than"):
        Expression("[inputs.deep]").evaluate({"inputs": {"deep": value}})


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("inputs.a + inputs.b.c", [("inputs", "a"), ("inputs", "b", "c")]),
        ("steps.x.output.rows.map(r, r.a + inputs.k)", [("steps", "x", "output", "rows"), ("inputs", "k")]),
        ("inputs.l.map(item, item.a).filter(x, x > index)", [("inputs", "l"), ("index",)]),
        ("size(inputs['a'].b[0])", [("inputs", "a", "b", 0)]),
        ("'inputs.a' // inputs.b", []),
        ("steps.x.output.startsWith('a')", [("steps", "x", "output")]),
        ("true ? null : inputs.a", [("inputs", "a")]),
        (r'br"\\" == b"" || inputs.a == r"""\d"""', [("inputs", "a")]),
        (r"'\'' + inputs.a + '''it's''' + inputs.b", [("inputs", "a"), ("inputs", "b")]),
    ],
)
def test_knows_what_it_refers_to(text: str, paths: list[tuple[str | int, ...]]) -> None:
    assert [reference.path for reference in Expression(text).references] == paths


@pytest.mark.parametrize(
    ("text", "end"),
    [("a }} b", 2), ("{'a': {'b': 1}} }} c", 16), ("'}}' }}", 5), ("a } } b", -1), ("a", -1), ("{'a': 1}}}", 8)],
)
def test_finds_where_an_expression_ends(text: str, end: int) -> None:
    assert end_of_expression(text, 0) == end


@pytest.mark.parametrize(
    "text",
    ['"' + '\\"' * 100_000, "'''" + "\\'''" * 60_000, 'r"' * 100_000, "'''" * 60_001, "`" * 200_000, "\\" * 200_000, "'\n" * 100_000],
    ids=["escaped", "triple", "raw", "open", "backtick", "backslash", "lines"],
)
@pytest.mark.timeout(10)
def test_the_end_of_a_hostile_text_is_looked_for_once(text: str) -> None:
    assert end_of_expression(text, 0) == -1
