"""YAML and JSON as the language reads them, hostile texts among them."""

import json
from typing import Any

import pytest

from parade_scheduler.language import examine
from tests.unit.scheduler.documents import faults, read


def with_text(text: str) -> str:
    """Returns a workflow whose step is given a text."""
    return json.dumps({"name": "a", "steps": {"s": {"call": "a.b", "with": {"k": text}}}})


WRONG_NEEDS = "name: a\nsteps:\n" + "".join(
    f"  s{step}: {{call: a.b, needs: [{','.join(f't{step}x{number}' for number in range(80))}]}}\n" for step in range(999)
)


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


@pytest.mark.parametrize("character", ["\x7f", "\x85", "\x9f", "\u2028", "\u2029", "\ufeff", "\uffff", "\t", "😀"])
def test_json_keeps_characters_that_yaml_does_not(character: str) -> None:
    text = f"a{character} {character}b"

    for ascii_only in (True, False):
        source = json.dumps({"name": "a", "steps": {"s": {"call": "x.y", "with": {text: text}}}}, ensure_ascii=ascii_only)
        assert read(source).steps["s"].arguments.value == {text: text}


def test_aliases_are_written_out() -> None:
    definition = read("name: a\nsteps:\n  s: &s {call: x.y, with: {a: 1}}\n  t: *s\n")

    assert definition.steps["t"].arguments.value == {"a": 1}


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
        ("a: &a " + "x" * 500_000 + "\nb: [" + "*a," * 100_000 + "]", "16,777,216 characters"),
        ("a: &a " + "x" * 500_000 + "\nb: {" + ",".join(f"? {n}\n : *a" for n in range(40)) + "}", "16,777,216 characters"),
        ("name: a\nx: &x '${{ 1 + }}'\nsteps: {s: {call: a.b, with: {k: [" + "*x," * 199_000 + "]}}}", "the end comes too early"),
        (with_text("${{ '" + "\\'" * 200_000), "is not closed"),
        (with_text("".join(f"${{{{ {n} }}}}" for n in range(6_000))), "more than 5,000 different expressions"),
        (with_text("".join(f"${{{{ '{n}{'x' * 1_000}' }}}}" for n in range(300))), "more than 256 KiB of them"),
        (with_text("".join(f"${{{{ {n} in [1].map(x, x) }}}}" for n in range(4_500))), "more than 4,000 macros"),
    ],
)
@pytest.mark.timeout(20)
def test_a_hostile_document_is_refused_quickly(source: str, description: str) -> None:
    assert any(description in fault[2] for fault in faults(source))


def test_more_faults_than_anybody_reads_are_not_kept() -> None:
    examined = examine(with_text("${{ 1 + }}" * 50_000))

    assert len(examined.faults) == 10_000


@pytest.mark.timeout(20)
def test_a_long_text_of_many_expressions_is_read_once() -> None:
    lines = "\n".join(["        ${{ 1 }}"] * 50_000)

    definition = read(f"name: a\nsteps:\n  s:\n    call: a.b\n    with:\n      k: |\n{lines}\n        ${{{{ 2 }}}}")

    assert definition.steps["s"].arguments.fill({}, "")["k"].count("1") == 50_000
