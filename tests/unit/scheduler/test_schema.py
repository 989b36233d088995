"""The JSON Schema of the language: it takes what the reader takes, and the words of both are the same."""

import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

import parade
from parade.wire.errors import ParadeError
from parade_scheduler.language import read, schema
from parade_scheduler.language.vocabulary import DEFINED, JSON_SCHEMA, WORKFLOW
from tests.integration import test_cli
from tests.unit.scheduler.documents import refusals

ROOT = Path(__file__).resolve().parents[3]
DOCUMENTS = {
    **{
        str(path.relative_to(ROOT)): path.read_text()
        for path in sorted((ROOT / "examples").rglob("workflow*.y*ml"))
        if ".venv" not in path.parts
    },
    "doubling": test_cli.WORKFLOW,
    "napping": test_cli.NAPPING,
    **{
        f"page {number}": part.split("```")[0]
        for number, part in enumerate((ROOT / "docs/reference/workflows.md").read_text().split("```yaml\n")[1:])
    },
}


def test_it_is_a_schema_that_takes_the_examples() -> None:
    assert jsonschema_rs.meta.is_valid(schema())

    assert "examples/data-processing/workflow.yaml" in DOCUMENTS
    for source in DOCUMENTS.values():
        assert refusals(json.loads(read(source).canonical)) == []


def test_it_takes_what_the_builder_makes() -> None:
    flow = parade.Workflow("built", inputs={"n": {"type": "integer", "default": 1}}, timeout="10m")
    first = flow.step("first", "a.b", {"n": flow.inputs.n}, retry=parade.Retry(3))
    second = flow.step("second", "a.c", for_each=first.output, max_parallel=2, condition="true")
    flow.output("all", second.output)

    read(flow.to_yaml())
    assert refusals(flow.to_document()) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"name": "Big Name"}, "does not match"),
        ({"steps": {}}, "{}"),
        ({"steps": {"one-two": {"call": "a.b"}}}, "one-two"),
        ({"nam": "a"}, "'nam' was unexpected"),
        ({"timeout": "soon"}, "does not match"),
        ({"timeout": 5}, "is not of type"),
        ({"inputs": {"a-b": None}}, "a-b"),
        ({"inputs": {"q": {"tpye": "string"}}}, "is not valid"),
        ({"outputs": 5}, "is not of type"),
        ({"steps": {"a": {}}}, "{} is not valid"),
        ({"steps": {"a": {"call": "nothing"}}}, "does not match"),
        ({"steps": {"a": {"call": "a.b", "wth": {}}}}, "'wth' was unexpected"),
        ({"steps": {"a": {"call": "a.b", "with": "text"}}}, "is not valid"),
        ({"steps": {"a": {"call": "a.b", "needs": 3}}}, "is not valid"),
        ({"steps": {"a": {"call": "a.b", "if": 3}}}, "is not of type"),
        ({"steps": {"a": {"call": "a.b", "for-each": "text"}}}, "is not valid"),
        ({"steps": {"a": {"call": "a.b", "max-parallel": 2}}}, "for-each"),
        ({"steps": {"a": {"call": "a.b", "for-each": [1], "max-parallel": 0}}}, "less than"),
        ({"steps": {"a": {"call": "a.b", "retry": {}}}}, '"attempts" is a required property'),
        ({"steps": {"a": {"call": "a.b", "retry": {"attempts": 101}}}}, "greater than"),
        ({"steps": {"a": {"call": "a.b", "retry": {"attempts": 2, "factor": 0.5}}}}, "less than"),
        ({"steps": {"a": {"call": "a.b", "retry": {"attempts": 2, "delay": 5}}}}, "is not of type"),
    ],
)
def test_it_refuses_what_the_reader_refuses(words: dict[str, Any], message: str) -> None:
    document = {"name": "flow", "steps": {"a": {"call": "a.b"}}, **words}

    with pytest.raises(ParadeError):
        read(json.dumps(document))
    found = refusals(document)
    assert any(message in refusal for refusal in found), found


@pytest.mark.parametrize("vocabulary", [WORKFLOW, *DEFINED.values()], ids=["workflow", *DEFINED])
def test_every_word_is_explained_to_people(vocabulary: Any) -> None:
    page = (ROOT / "docs/reference/workflows.md").read_text()

    for name, word in vocabulary.words.items():
        assert word.description.endswith(".")
        assert f"`{name}`" in page or name in JSON_SCHEMA, name
