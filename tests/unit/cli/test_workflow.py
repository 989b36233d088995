"""`parade workflow`, as far as it needs no mesh."""

import json

import pytest

from parade.cli.workflow import is_file
from tests.unit.cli.conftest import Parade


def test_the_schema_of_the_language_is_printed(parade: Parade) -> None:
    result = parade("workflow", "schema")

    assert result.exit_code == 0
    assert json.loads(result.stdout)["required"] == ["name", "steps"]


@pytest.mark.parametrize(
    ("word", "expected"),
    [("order.yaml", True), ("a/order", True), ("-", True), (".", True), ("order.json", True), ("order", False), ("travel.trip", False)],
)
def test_a_file_is_told_from_the_name_of_a_workflow(word: str, expected: bool) -> None:  # noqa: FBT001  # a parameter of the table
    assert is_file(word) is expected
