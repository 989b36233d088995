"""What the page about policies shows is so."""

from pathlib import Path

from parade_chassis.cedar import SCHEMA, checked_rules
from tests.support.commands import blocks

PAGE = (Path(__file__).parents[3] / "docs/how-to/policies.md").read_text(encoding="utf-8")


def test_the_schema_of_the_page_is_the_schema() -> None:
    assert blocks(PAGE, "cedarschema") == [SCHEMA]


def test_the_policy_of_the_page_is_one() -> None:
    (text,) = blocks(PAGE, "cedar")

    assert [rule.id for rule in checked_rules(text)] == ["large", "no-keys", "clean-up"]
