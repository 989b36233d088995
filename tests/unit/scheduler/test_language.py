"""The workflow language: what is read, and that every fault is told with its line."""

import pytest

from parade.wire.errors import ParadeError
from parade_scheduler.expression import Expression
from parade_scheduler.language import examine
from tests.unit.scheduler.documents import REPORT, faults, read


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


def test_a_document_full_of_faults_tells_as_many_as_an_answer_can_carry() -> None:
    with pytest.raises(ParadeError, match="the workflow has 1000 faults; these are the first") as caught:
        read("name: a\nsteps:\n" + "".join(f"  S{number}: {{call: a}}\n" for number in range(500)))

    assert len(caught.value.violations) > 20
    assert sum(len(violation.field) + len(violation.description) for violation in caught.value.violations) < 6_000
