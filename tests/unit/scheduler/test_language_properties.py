"""What holds of every document: it is read or refused, and the schema for editors takes whatever is read."""

import copy
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from parade_scheduler.language import examine
from tests.unit.scheduler.documents import REPORT, read, refusals
from tests.unit.sdk.test_workflow_builder import YAML

WHOLE = [json.loads(read(source).canonical) for source in (REPORT, YAML)]
"""Documents that have every word."""

VALUES: st.SearchStrategy[Any] = st.sampled_from(
    [
        None,
        True,
        0,
        -1,
        2**70,
        1.5,
        "",
        "x",
        "5m",
        "a.b",
        "other-flow",
        "reserve",
        "0 6 * * *",
        "success",
        "${{ item }}",
        "${{ inputs.shop }} and ${{ output }}",
        "${{ secrets.token }}",
        "${{",
        "2027-01-01T00:00:00Z",
        [],
        [[]],
        ["reserve", "settled"],
        {},
        {"": {}},
        {"signal": "go"},
        {"call": "a.b"},
        {"$ref": "#"},
        {"type": "string"},
    ]
) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
WORDS = st.sampled_from(
    ["on", "true", "wait", "race", "loop", "run", "call", "with", "when", "if", "needs", "retry", "compensate", "timer", "for", "until"]
)


def places(value: Any) -> list[tuple[Any, Any]]:
    """Returns every place in a document: a list or mapping, and the index or key in it."""
    here: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        here = [(value, key) for key in value]
    elif isinstance(value, list):
        here = [(value, index) for index in range(len(value))]
    return here + [place for container, key in here for place in places(container[key])]


@st.composite
def documents(draw: st.DrawFn) -> Any:
    """Draws a document of which a few places are not as they should be."""
    document = copy.deepcopy(draw(st.sampled_from(WHOLE)))
    for _ in range(draw(st.integers(1, 4))):
        found = places(document)
        if not found:
            break
        container, key = draw(st.sampled_from(found))
        change = draw(st.sampled_from(["replace", "remove", "add", "move"]))
        if change == "remove":
            del container[key]
        elif change == "add" and isinstance(container, dict):
            container[draw(WORDS)] = copy.deepcopy(draw(VALUES))
        elif change == "move" and isinstance(container, dict):
            container[draw(WORDS)] = container.pop(key)
        else:
            container[key] = copy.deepcopy(draw(VALUES))
    return document


@given(documents())
def test_every_document_is_read_or_refused_and_what_is_read_fits_the_schema(document: Any) -> None:
    source = json.dumps(document)

    examined = examine(source)

    assert all(1 <= fault.line <= 1 and fault.description for fault in examined.faults)
    if examined.definition is not None and not examined.faults:
        assert refusals(json.loads(examined.definition.canonical)) == []
        assert read(examined.definition.canonical.decode()).hash == examined.definition.hash


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda data: data.decode("latin-1")))
def test_no_text_brings_the_reader_down(source: str) -> None:
    assert examine(source).faults
