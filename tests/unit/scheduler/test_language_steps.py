"""The words of a step, and what is told of those that are wrong."""

import pytest

from tests.unit.scheduler.documents import faults, read, step


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


def test_every_independent_cycle_is_named() -> None:
    steps = ["a: {call: x.y, needs: b}", "b: {call: x.y, needs: a}", "c: {call: x.y, needs: [d, a]}", "d: {call: x.y, needs: c}"]

    found = faults("name: a\nsteps:\n  " + "\n  ".join(steps))

    assert [description.partition(";")[0] for _, _, description in found] == [
        "the steps wait for each other: a needs b needs a",
        "the steps wait for each other: c needs d needs c",
    ]


def test_a_thousand_steps_in_a_row_are_read() -> None:
    source = "name: a\nsteps:\n  s0: {call: a.b}\n" + "".join(
        f"  s{n}: {{call: a.b, needs: s{n - 1}, with: {{k: '${{{{ steps.s0.output }}}}'}}}}\n" for n in range(1, 1000)
    )

    assert len(read(source).steps) == 1000
