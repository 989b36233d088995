"""Which texts are policies: what is wrong with one is said, rule by rule, and no text harms the process that reads it."""

import subprocess
import sys

import pytest

from parade.wire.errors import ParadeError, Reason
from parade.wire.roles import Role
from parade_chassis.cedar import MAX_TEXT, checked_rules

RULE = "forbid (principal, action, resource);"


def rule(condition: str) -> str:
    return f'forbid (principal, action == Parade::Action::"call", resource) when {{ {condition} }};'


def faults(text: str) -> str:
    with pytest.raises(ParadeError) as error:
        checked_rules(text)
    assert error.value.reason is Reason.INVALID_ARGUMENTS
    return "\n".join(map(str, error.value.violations))


def test_rules_are_read_in_their_order_with_their_ids_and_approvers() -> None:
    many = "\n".join(f'@id("r{number}") {RULE}' for number in range(12))
    rules = checked_rules(f'{many}\n// the last two\n@approval("admin") {rule("true")}\n{rule("false")}')

    assert [one.id for one in rules] == [*(f"r{number}" for number in range(12)), "13", "14"]
    assert [one.approver for one in rules[11:]] == [Role.NONE, Role.ADMIN, Role.NONE]
    assert rules[13].text == 'forbid (\n  principal,\n  action == Parade::Action::"call",\n  resource\n)\nwhen { false };'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no rule"),
        ("// nothing", "holds no rule"),
        ("permit (principal, action, resource);", "text.1: permits, which roles do and policies never; write `forbid"),
        (f'{RULE}\n@id("open") permit (principal, action, resource);', "text.open: permits"),
        ("forbid (principal);", "is not Cedar"),
        ("forbid (principal == ?principal, action, resource);", "have no meaning here"),
        (f'@id("a") {RULE} @id("a") {RULE}', "text.a: is the id of another rule too"),
        (f'@id("2") {RULE}', "text.2: @id must be a letter"),
        (f'@id("") {RULE}', "text.1: @id must be a letter"),
        (f'@aproval("operator") {RULE}', "@aproval is not known"),
        (f'@approval("viewer") {rule("true")}', "text.1: @approval must name operator or admin"),
        (f"@approval {rule('true')}", "text.1: @approval must name operator or admin"),
        (f'@approval("operator") {RULE}', "text.1: only a call can wait for an approval"),
        (rule('resource.label.contains("x")'), "text.1: "),
        (f"{RULE} {rule('context.approved')}", "text.2: "),
        (rule('principal == Parade::User::"x"'), "text.1: "),
        ('forbid (principal, action == Parade::Action::"fly", resource);', "text.1: "),
        (rule('resource.labels == "x"'), "text.1: "),
        (rule('principal in Parade::Role::"oprator"'), "text.1: "),
        (rule('resource.effect == Parade::Effect::"none"'), "text.1: "),
        (f"{RULE} // \x00", "must hold no NUL"),
        (f"{RULE}\n//{'x' * MAX_TEXT}", "must be at most 64 KiB"),
        (rule("!" * 9 + "true"), "is not Cedar"),
        (rule(" || ".join(["false"] * 200)), "a chain of operators that is too long"),
        (rule(" || ".join(["false"] * 400)), "a chain of operators that is too long"),
        (rule(" || ".join(["false"] * 5000)), "is nested too deep"),
        (rule("(" * 70 + "true" + ")" * 70), "is nested too deep"),
    ],
)
def test_what_is_wrong_with_a_text_is_said(text: str, said: str) -> None:
    assert said in faults(text)


def test_every_fault_is_said_at_once() -> None:
    said = faults(f'permit (principal, action, resource); @note("x") {RULE} @id("a") {RULE} @id("a") {RULE}')

    assert len(said.splitlines()) == 3


@pytest.mark.parametrize("condition", ["(" * 30 + "true" + ")" * 30, " || ".join(["false"] * 30), '"((((((((" == "' + ")" * 200 + '"'])
def test_what_people_write_is_not_too_deep(condition: str) -> None:
    assert len(checked_rules(rule(condition))) == 1


HARMFUL = """
import sys
from parade.wire.errors import ParadeError
from parade_chassis.cedar import MAX_TEXT, RuleSet, checked_rules
from parade_chassis.policies import PolicyText

def repeated(before, middle, after):
    count = (MAX_TEXT - 200) // (len(before) + len(after))
    return before * count + middle + after * count

FORMS = {
    "brackets": repeated("(", "true", ")"),
    "sets": repeated("[", "", "]") + " == []",
    "records": repeated("{a:", "1", "}") + " == {}",
    "calls": repeated("[1].contains(", "1", ")"),
    "choices": repeated("if true then ", "true", " else true"),
    "choices in else": repeated("if true then true else ", "true", ""),
    "after a comment": "true // \\r && " + repeated("(", "true", ")"),
    "after a string": '"// \\\\"" == "" && ' + repeated("(", "true", ")"),
    "in and out": "(" + "()" * 20000 + repeated("(", "true", ")")[:20000],
    "negations": repeated("!", "true", ""),
    "minus": repeated("-", "1", "") + " == 1",
    "brackets after more ends than beginnings": ")" * 20000 + repeated("(", "true", ")")[:20000],
    "operators in many rules": repeated("true}; forbid(principal,action,resource) when {1+1+1+1 == 4 && ", "true", "")[:60000],
    "as many operators as may be": "+".join(["1"] * 480) + " == 1",
    "as many choices as may be": "if true then " * 450 + "true" + " else true" * 450,
    "alternatives": repeated("true||", "true", ""),
    "conjunctions": repeated("true&&", "true", ""),
    "sums": repeated("1+", "1", "") + " == 1",
    "products": repeated("1*", "1", "") + " == 1",
    "attributes": "principal" + repeated(".a", "", "") + " == 1",
    "has": "principal has a" + repeated(".a", "", ""),
    "indexes": "principal" + repeated('["a"]', "", "") + " == 1",
    "methods": "[1]" + repeated(".isEmpty()", "", ""),
    "pattern": '"' + "a" * 30000 + '" like "' + repeated("*a", "", "")[:30000] + '"',
    "an open string": '"' + repeated('\\\\"', "", ""),
    "open strings": repeated('"\\\\', "", ""),
    "annotations": None,
    "namespaces": repeated("A::", 'A::"a"', "") + " == 1",
    "rules": "true}; forbid(principal,action,resource) when {" * 1300 + "true",
}
for name, condition in FORMS.items():
    text = "forbid (principal, action, resource) when { %s };" % condition
    if condition is None:
        text = "".join('@a%d("x")' % number for number in range(5000)) + "forbid (principal, action, resource);"
    try:
        checked_rules(text)
        RuleSet([PolicyText("default", "p", 1, text)])
    except ParadeError:
        pass
    print(name, flush=True)
"""


def test_no_text_ends_the_process_that_reads_it() -> None:
    # In a process of its own: the engine's reader overflows the stack where nobody keeps it from that.
    result = subprocess.run([sys.executable, "-c", HARMFUL], check=False, capture_output=True, text=True, timeout=55)

    assert (result.returncode, result.stderr) == (0, ""), f"after {result.stdout.splitlines()[-1:]}"
