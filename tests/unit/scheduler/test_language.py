"""The workflow language: what is read, and that every fault is told with its line."""

import json
from typing import Any

import pytest

from parade.wire.errors import ParadeError, Reason
from parade_scheduler import language
from parade_scheduler.expression import Expression
from parade_scheduler.language import Definition, examine
from tests.unit.scheduler.documents import refusals

REPORT = """\
name: sales-report
description: >
  Reads, cleans,
  describes.
timeout: 10m
inputs:
  source: {type: string, description: where from}
  on: {type: boolean, default: false}
  limit: {schema: {type: integer, minimum: 1}, required: false}
steps:
  collect:
    call: collector.fetch
    with: {url: "${{ inputs.source }}", deep: [{a: "x ${{ run.id }} y"}]}
  clean:
    call: cleaner.clean-up
    needs: collect
    retry: {attempts: 3, delay: 500ms, factor: 3, max-delay: 1m}
    with:
      rows: ${{ steps.collect.output.rows }}
  describe:
    call: analyst.describe
    needs: [clean]
    for-each: ${{ steps.clean.output.columns }}
    max-parallel: 4
    with: {column: "${{ item }}", place: "${{ index }}"}
    timeout: 1m30s
  complain:
    call: teller.tell
    needs: describe
    if: failure
outputs:
  report: ${{ steps.describe.output }}
"""

WRONG_NEEDS = "name: a\nsteps:\n" + "".join(
    f"  s{step}: {{call: a.b, needs: [{','.join(f't{step}x{number}' for number in range(80))}]}}\n" for step in range(999)
)


def read(source: str) -> Definition:
    """Reads a document. Whatever the reader takes, the schema for editors must take."""
    definition = language.read(source)
    assert refusals(json.loads(definition.canonical)) == []
    return definition


def faults(source: str) -> list[tuple[int, str, str]]:
    with pytest.raises(ParadeError) as caught:
        read(source)
    assert caught.value.reason is Reason.INVALID_ARGUMENTS
    return [(violation.line, violation.field, violation.description) for violation in caught.value.violations]


def step(words: str, head: str = "") -> str:
    """Returns a workflow whose step `x` has these words from line 5 on."""
    indented = "\n".join(f"    {line}" for line in words.split("\n"))
    return f"name: flow\nsteps:\n  before: {{call: a.b}}\n  x:\n{indented}\n{head}"


def test_reads_a_whole_definition() -> None:
    definition = read(REPORT)

    assert definition.name == "sales-report"
    assert definition.description == "Reads, cleans, describes."
    assert definition.timeout == 600
    assert list(definition.steps) == ["collect", "clean", "describe", "complain"]
    assert [(item.name, item.required, item.default) for item in definition.inputs.inputs] == [
        ("source", True, None),
        ("on", False, False),
        ("limit", False, None),
    ]
    clean = definition.steps["clean"]
    assert (clean.needs, clean.retry.attempts, clean.retry.backoff.delay, clean.retry.backoff.factor) == (("collect",), 3, 0.5, 3)
    describe = definition.steps["describe"]
    assert (describe.max_parallel, describe.timeout) == (4, 90)
    assert describe.items is not None
    assert isinstance(describe.items.value, Expression)
    assert definition.steps["complain"].decides_alone
    assert definition.needed_by["clean"] == ("describe",)
    assert definition.functions["cleaner.clean-up"] == [("steps.clean.call", 15)]


def test_yaml_and_json_of_the_same_document_have_one_hash() -> None:
    yaml = read("# a comment\nsteps:\n  a:\n    call: x.y\n    with: {k: 1}\nname: same\n")
    json = read('{"name": "same",\t"steps": {"a": {"with": {"k": 1}, "call": "x.y"}}}')

    assert yaml.hash == json.hash
    assert len(yaml.hash) == 64


def test_another_document_has_another_hash() -> None:
    assert read("name: a\nsteps: {a: {call: x.y}}").hash != read("name: a\nsteps: {a: {call: x.z}}").hash


@pytest.mark.parametrize(
    ("scalar", "value"),
    [
        ("yes", "yes"),
        ("on", "on"),
        ("NO", "NO"),
        ("true", True),
        ("null", None),
        ("~", None),
        ("12", 12),
        ("012", 12),
        ("1_000", "1_000"),
        ("0x1F", 31),
        ("1.5e3", 1500.0),
        ("12:30", "12:30"),
        ("2026-01-01", "2026-01-01"),
        ('"12"', "12"),
        ("!!str 12", "12"),
        ("18446744073709551615", 2**64 - 1),
        (".inf", ".inf"),
    ],
)
def test_scalars_follow_yaml_1_2(scalar: str, value: Any) -> None:
    definition = read(f"name: a\nsteps:\n  on:\n    call: x.y\n    with:\n      no: {scalar}\n")

    assert definition.steps["on"].arguments.value == {"no": value}


def test_json_as_python_writes_it_is_read() -> None:
    definition = read(
        '{\n\t"name": "a",\n\t"steps": {"s": {"call": "x.y", "with": {"face": "\\ud83d\\ude00", "plain": "\\\\ud83d", "slash": "\\/"}}}}'
    )

    assert definition.steps["s"].arguments.value == {"face": "😀", "plain": "\\ud83d", "slash": "/"}


def test_aliases_are_written_out() -> None:
    definition = read("name: a\nsteps:\n  s: &s {call: x.y, with: {a: 1}}\n  t: *s\n")

    assert definition.steps["t"].arguments.value == {"a": 1}


@pytest.mark.parametrize(
    ("words", "line", "field", "description"),
    [
        ("call: nothing", 5, "steps.x.call", "write `agent.function`"),
        ("cal: a.b", 4, "steps.x", "a step needs `call`"),
        ("call: a.b\nwth: {}", 6, "steps.x.wth", "did you mean `with`?"),
        ("call: a.b\nneeds: befor", 6, "steps.x.needs", "there is no step `befor`; did you mean `before`?"),
        ("call: a.b\nneeds:\n - before\n - nope", 8, "steps.x.needs", "there is no step `nope`"),
        ("call: a.b\nneeds: [3]", 6, "steps.x.needs", "the id of a step"),
        ("call: a.b\nneeds: x", 6, "steps.x.needs", "x needs x"),
        ("call: a.b\nwith: 5", 6, "steps.x.with", "the arguments by name"),
        ("call: a.b\nwith:\n  k: ${{ 1 + }}", 7, "steps.x.with.k", "the end comes too early"),
        ("call: a.b\nwith:\n  k: ${{ 1 + ", 7, "steps.x.with.k", "is not closed"),
        ("call: a.b\nwith:\n  k: |\n    one\n    ${{ foo }}", 9, "steps.x.with.k", "undeclared reference"),
        ("call: a.b\nwith: {k: [{l: '${{ steps.before.output }}'}]}", 6, "steps.x.with.k[0].l", "add `before` to the `needs` of `x`"),
        ("call: a.b\nneeds: before\nwith: {k: '${{ steps.before.rows }}'}", 7, "steps.x.with.k", "`steps.before.output.rows`"),
        ("call: a.b\nneeds: before\nwith: {k: '${{ steps.before }}'}", 7, "steps.x.with.k", "write `steps.before.output`"),
        ("call: a.b\nwith: {k: '${{ steps }}'}", 6, "steps.x.with.k", "write `steps.<id>.output`"),
        ("call: a.b\nwith: {k: '${{ steps.befor.output }}'}", 6, "steps.x.with.k", "did you mean `before`?"),
        ("call: a.b\nwith: {k: '${{ steps.x.output }}'}", 6, "steps.x.with.k", "refers to itself"),
        ("call: a.b\nwith: {k: '${{ inputs.q }}'}", 6, "steps.x.with.k", "there is no input `q`; there are none"),
        ("call: a.b\nwith: {k: '${{ run.name }}'}", 6, "steps.x.with.k", "there is `run.id`"),
        ("call: a.b\nwith: {k: '${{ item }}'}", 6, "steps.x.with.k", "`item` exists only"),
        ("call: a.b\nwith: {k: '${{ success }}'}", 6, "steps.x.with.k", "`success` exists only in `if`"),
        ("call: a.b\nfor-each: [1]\nif: item > 0", 7, "steps.x.if", "`item` exists only"),
        ("call: a.b\nif: 1 +", 6, "steps.x.if", "the end comes too early"),
        ("call: a.b\nif: 7", 6, "steps.x.if", "a condition stands here"),
        ("call: a.b\nif: steps.before.output.ok", 6, "steps.x.if", "add `before`"),
        ("call: a.b\nfor-each: 7", 6, "steps.x.for-each", "a list stands here"),
        ("call: a.b\nfor-each: a ${{ 1 }}", 6, "steps.x.for-each", "a list stands here"),
        ("call: a.b\nmax-parallel: 2", 6, "steps.x.max-parallel", "only with `for-each`"),
        ("call: a.b\nfor-each: [1]\nmax-parallel: 0", 7, "steps.x.max-parallel", "from 1 to 10,000"),
        ("call: a.b\nretry: 3", 6, "steps.x.retry", "a mapping with"),
        ("call: a.b\nretry: {delay: 1s}", 6, "steps.x.retry", "needs `attempts`"),
        ("call: a.b\nretry: {attempts: 0}", 6, "steps.x.retry.attempts", "from 1 to 100"),
        ("call: a.b\nretry: {attempts: true}", 6, "steps.x.retry.attempts", "not `true`"),
        ("call: a.b\nretry: {attempts: 2, delay: 5}", 6, "steps.x.retry.delay", "`5` is no duration"),
        ("call: a.b\nretry: {attempts: 2, delay: 5s, max-delay: 1s}", 6, "steps.x.retry.max-delay", "shorter than"),
        ("call: a.b\nretry: {attempts: 2, factor: 0.5}", 6, "steps.x.retry.factor", "from 1 to 100"),
        ("call: a.b\ntimeout: 5 minutes", 6, "steps.x.timeout", "`5 minutes` is no duration"),
        ("call: a.b\ntimeout: 0s", 6, "steps.x.timeout", "above zero"),
        ("call: a.b\ndescription: [1]", 6, "steps.x.description", "a text stands here"),
        ("call: a.b\ncall: a.c", 6, "steps.x.call", "stands here twice, first in line 5"),
    ],
)
def test_tells_a_fault_in_a_step_with_its_line(words: str, line: int, field: str, description: str) -> None:
    found = faults(step(words))

    assert any(fault[:2] == (line, field) and description in fault[2] for fault in found), found


@pytest.mark.parametrize(
    ("source", "line", "field", "description"),
    [
        ("steps: {a: {call: a.b}}", 1, "name", "a workflow needs `name`"),
        ("name: a", 1, "steps", "a workflow needs `steps`"),
        ("name: a\nsteps:", 2, "steps", "at least one step"),
        ("name: a\nsteps: [1]", 2, "steps", "not a list"),
        ("name: a\nsteps: {a: 5}", 2, "steps.a", "a mapping with"),
        ("name: a\nsteps:\n  one-two: {call: a.b}", 3, "steps.one-two", "no id of a step"),
        ("name: Big Name\nsteps: {a: {call: a.b}}", 1, "name", "no name of a workflow"),
        ("name: 5\nsteps: {a: {call: a.b}}", 1, "name", "no name of a workflow"),
        ("nam: a\nsteps: {a: {call: a.b}}", 1, "nam", "did you mean `name`?"),
        ("name: a\ntimeout: soon\nsteps: {a: {call: a.b}}", 2, "timeout", "no duration"),
        ("name: a\ninputs: 5\nsteps: {a: {call: a.b}}", 2, "inputs", "the inputs by name"),
        ("name: a\ninputs:\n  a-b:\nsteps: {a: {call: a.b}}", 3, "inputs.a-b", "no name of an input"),
        ("name: a\ninputs:\n  q: {type: strin}\nsteps: {a: {call: a.b}}", 3, "inputs.q.type", "did you mean `string`?"),
        ("name: a\ninputs:\n  q: {schema: {type: 5}}\nsteps: {a: {call: a.b}}", 3, "inputs.q.schema", "no valid JSON Schema"),
        (
            "name: a\ninputs:\n  q: {schema: {$ref: 'file:///etc/passwd'}}\nsteps: {a: {call: a.b}}",
            3,
            "inputs.q.schema",
            "`file:///etc/passwd` is not followed",
        ),
        ("name: a\ninputs:\n  q: {type: string, schema: {}}\nsteps: {a: {call: a.b}}", 3, "inputs.q.schema", "exclude each other"),
        ("name: a\ninputs:\n  q:\n    type: integer\n    default: x\nsteps: {a: {call: a.b}}", 5, "inputs.q.default", "is not of type"),
        ("name: a\ninputs:\n  q: {required: maybe}\nsteps: {a: {call: a.b}}", 3, "inputs.q.required", "`true` or `false`"),
        ("name: a\nsteps: {a: {call: a.b}}\noutputs: 5", 3, "outputs", "the outputs by name"),
        ("name: a\nsteps: {a: {call: a.b}}\noutputs:\n  r: ${{ steps.b.output }}", 4, "outputs.r", "there is no step `b`"),
        (
            "name: a\nsteps:\n  a: {call: a.b, needs: c}\n  b: {call: a.b, needs: a}\n  c: {call: a.b, needs: b}",
            3,
            "steps.a.needs",
            "a needs c needs b needs a",
        ),
        ("- 1", 1, "", "not a list"),
        ("", 1, "", "the document is empty"),
        ("a: [1, 2\nb: c", 2, "", "this is no YAML"),
        ("--- \na: b\n---\nc: d", 3, "", "a second document"),
        ("a: *x", 1, "", "no anchor `&x`"),
        ("a: &x [*x]", 1, "", "no anchor `&x`"),
        ("a:\n  ? [1]\n  : 2", 2, "", "a key is a text"),
        ("a: !!python/object:os.system x", 1, "", "the tag"),
        ("a:\n  \x07", 2, "", "may not stand in a document"),
    ],
)
def test_tells_a_fault_of_the_document_with_its_line(source: str, line: int, field: str, description: str) -> None:
    found = faults(source)

    assert any(fault[:2] == (line, field) and description in fault[2] for fault in found), found


def test_tells_every_fault_at_once_in_the_order_of_lines() -> None:
    steps = "a: {call: b, needs: nope}\n  c: {call: a.b, timeout: x, with: {k: '${{ foo }}'}}"
    source = f"nam: x\nname: flow\nsteps:\n  {steps}\noutputs: {{x: '${{{{ steps.q.output }}}}'}}"

    found = faults(source)

    assert [line for line, _, _ in found] == [1, 4, 4, 5, 5, 6]


def test_what_to_write_instead_stands_apart_from_what_is_wrong() -> None:
    examined = examine("name: flow\nsteps:\n  first: {call: x.y}\n  last: {call: x, needs: frist, wiht: {}}\n")

    assert [(fault.line, fault.field, fault.description, fault.hint) for fault in examined.faults] == [
        (4, "steps.last.wiht", "there is no word `wiht` here", "did you mean `with`?"),
        (4, "steps.last.call", "`x` is no function", "write `agent.function`"),
        (4, "steps.last.needs", "there is no step `frist`", "did you mean `first`?"),
    ]
    assert examined.definition is not None
    assert list(examined.definition.steps) == ["first", "last"]


def test_a_word_that_is_missing_is_explained() -> None:
    (fault,) = examine("name: flow\nsteps:\n  only: {timeout: 1s}\n").faults

    assert (fault.line, fault.field, fault.description) == (3, "steps.only", "a step needs `call`, `run`, `wait` or `race`")
    assert fault.hint.startswith("add one of them: `call`: The function that it calls, `agent.function`; `run`: The workflow")


def test_a_document_that_cannot_be_read_has_no_definition() -> None:
    examined = examine("name: flow\n---\nname: flow\n")

    assert (examined.definition, len(examined.faults)) == (None, 1)


def test_every_independent_cycle_is_named() -> None:
    steps = ["a: {call: x.y, needs: b}", "b: {call: x.y, needs: a}", "c: {call: x.y, needs: [d, a]}", "d: {call: x.y, needs: c}"]

    found = faults("name: a\nsteps:\n  " + "\n  ".join(steps))

    assert [description for _, _, description in found] == [
        "the steps wait for each other: a needs b needs a",
        "the steps wait for each other: c needs d needs c",
    ]


@pytest.mark.parametrize(
    ("source", "description"),
    [
        ("[" * 100_000, "nested more than 64"),
        ("- " * 100_000, "nested more than 64"),
        ('{"a":' * 100_000, "nested more than 64"),
        ("x" * 2_000_000, "at most 1 MiB"),
        (
            "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
            + "".join(f"{new}: &{new} [{','.join(['*' + old] * 10)}]\n" for old, new in zip("abcdef", "bcdefg", strict=True)),
            "200,000",
        ),
        ("name: a\nsteps:\n" + "".join(f"  s{n}: {{call: a.b}}\n" for n in range(1001)), "at most 1,000"),
        ("name: a\nsteps: {a: {call: a.b, for-each: [" + ",".join(["1"] * 10_001) + "]}}", "at most 10,000"),
        (
            "name: a\nsteps: {a: {call: a.b, with: {k: [" + ",".join(f"'${{{{ {n} }}}}'" for n in range(5_001)) + "]}}}",
            "5,000 different expressions",
        ),
        ("name: a\nsteps: {a: {call: a.b, with: {k: '" + "${{" * 300_000 + "'}}}", "is not closed"),
        (WRONG_NEEDS, "t0x0"),
        ("name: a\nsteps:\n  a: {call: a.b, needs: " + "x" * 900_000 + "}", "there is no step"),
        ("name: a\n" + "? " + "x" * 900_000 + "\n: 1", "there is no word"),
    ],
)
@pytest.mark.timeout(20)
def test_a_hostile_document_is_refused_quickly(source: str, description: str) -> None:
    assert any(description in fault[2] for fault in faults(source))


def test_a_document_full_of_faults_tells_as_many_as_an_answer_can_carry() -> None:
    with pytest.raises(ParadeError, match="the workflow has 1000 faults; these are the first") as caught:
        read("name: a\nsteps:\n" + "".join(f"  S{number}: {{call: a}}\n" for number in range(500)))

    assert len(caught.value.violations) > 20
    assert sum(len(violation.field) + len(violation.description) for violation in caught.value.violations) < 6_000


def test_a_thousand_steps_in_a_row_are_read() -> None:
    source = "name: a\nsteps:\n  s0: {call: a.b}\n" + "".join(
        f"  s{n}: {{call: a.b, needs: s{n - 1}, with: {{k: '${{{{ steps.s0.output }}}}'}}}}\n" for n in range(1, 1000)
    )

    assert len(read(source).steps) == 1000


def test_an_input_may_have_words_of_json_schema() -> None:
    shops = "shops: {type: array, items: {type: string}, default: [n]}"

    definition = read(f"name: a\ninputs: {{{shops}, k: {{enum: [1, 2], required: false}}}}\nsteps: {{a: {{call: a.b}}}}")

    assert definition.inputs.complete({"k": 2}) == {"shops": ["n"], "k": 2}
    with pytest.raises(ParadeError) as caught:
        definition.inputs.complete({"shops": [1], "k": 3})
    assert [violation.field for violation in caught.value.violations] == ["inputs.shops[0]", "inputs.k"]


@pytest.fixture
def report() -> Definition:
    return read(REPORT)


def test_inputs_are_completed_with_defaults(report: Definition) -> None:
    assert report.inputs.complete({"source": "a.csv"}) == {"source": "a.csv", "on": False, "limit": None}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, [("inputs.source", "required")]),
        ({"source": 5}, [("inputs.source", "is not of type")]),
        ({"source": "a", "limit": 0, "sorce": 1}, [("inputs.sorce", "there are: limit, on, source"), ("inputs.limit", "minimum")]),
        ([], [("inputs", "an object, this is a list")]),
    ],
)
def test_inputs_that_do_not_fit_are_all_named(report: Definition, given: Any, expected: list[tuple[str, str]]) -> None:
    with pytest.raises(ParadeError) as caught:
        report.inputs.complete(given)

    found = [(violation.field, violation.description) for violation in caught.value.violations]
    assert len(found) == len(expected)
    assert all(field == path and words in text for (field, text), (path, words) in zip(found, expected, strict=True)), found


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("${{ inputs.n }}", 5),
        ("  ${{ inputs.n }}\n", "  5\n"),
        ("n=${{ inputs.n }}, l=${{ inputs.l }}, z=${{ inputs.z }}, t=${{ inputs.t }}", "n=5, l=[1,null], z=, t=true"),
        ("${{ inputs.n }}${{ inputs.n }}", "55"),
        ("${{ '${{ }}' }}", "${{ }}"),
        ("${{ {'a': {'b': 1}} }}", {"a": {"b": 1}}),
        ("no expression }} here", "no expression }} here"),
    ],
)
def test_templates_keep_the_type_of_a_lone_expression_and_join_texts(template: str, value: Any) -> None:
    source = {"name": "a", "inputs": {key: {} for key in "nlzt"}, "steps": {"s": {"call": "a.b", "with": {"k": template}}}}
    definition = read(json.dumps(source))

    filled = definition.steps["s"].arguments.fill({"inputs": {"n": 5, "l": [1, None], "z": None, "t": True}}, "here")

    assert filled == {"k": value}


def test_a_block_scalar_with_a_lone_expression_keeps_its_type() -> None:
    definition = read("name: a\nsteps:\n  s:\n    call: a.b\n    with:\n      k: |\n        ${{ 1 + 1 }}\n")

    assert definition.steps["s"].arguments.fill({}, "here") == {"k": 2}
