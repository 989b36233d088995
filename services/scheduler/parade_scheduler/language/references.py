"""Whether what the expressions of a definition refer to is there when they are computed."""

import difflib
from collections.abc import Collection, Iterable, Mapping

from parade_scheduler.expression import Reference
from parade_scheduler.language.faults import Faults
from parade_scheduler.language.values import Use

STEP_FIELDS = frozenset({"output", "state"})
"""What an expression can see of a step."""

_WHERE = {
    "item": "exists only in the `with` of a step that has `for-each`",
    "index": "exists only in the `with` of a step that has `for-each`",
    "success": "exists only in `if`",
    "failure": "exists only in `if`",
}


def check(
    uses: Iterable[Use],
    inputs: Collection[str],
    steps: Collection[str],
    ancestors: Mapping[str, frozenset[str]],
    unreliable: Collection[str],
    faults: Faults,
) -> None:
    """Notes every reference to what is not there.

    Args:
        uses: The expressions and where they stand.
        inputs: The inputs' names.
        steps: The steps' ids.
        ancestors: For each step, the steps that have ended before it begins.
        unreliable: Steps whose needs are at fault themselves; what they may refer to is not known.
        faults: Where faults are noted.
    """
    for use in uses:
        told: set[str] = set()
        for reference in use.expression.references:
            fault = _fault(use, reference, inputs, steps, ancestors, unreliable)
            if fault and fault not in told:
                told.add(fault)
                faults.add(use.field, use.line, fault)


def _fault(
    use: Use,
    reference: Reference,
    inputs: Collection[str],
    steps: Collection[str],
    ancestors: Mapping[str, frozenset[str]],
    unreliable: Collection[str],
) -> str:
    root, path = reference.root, reference.path
    if root in _WHERE and root not in use.names:
        return f"`{root}` {_WHERE[root]}"
    second = str(path[1]) if len(path) > 1 else ""
    if root == "inputs" and second and second not in inputs:
        return f"there is no input `{second}`{_hint(second, inputs)}"
    if root == "run" and second and second != "id":
        return f"there is no `run.{second}`; there is `run.id`"
    if root == "steps":
        return _step_fault(use, reference, steps, ancestors, unreliable)
    return ""


def _step_fault(
    use: Use, reference: Reference, steps: Collection[str], ancestors: Mapping[str, frozenset[str]], unreliable: Collection[str]
) -> str:
    path = reference.path
    if len(path) < 2:
        return "`steps` alone has no value; write `steps.<id>.output`"
    step = str(path[1])
    if step not in steps:
        return f"there is no step `{step}`{_hint(step, steps)}"
    if step == use.step:
        return f"the step `{step}` refers to itself"
    if use.step and use.step not in unreliable and step not in ancestors[use.step]:
        return f"`steps.{step}` may not have ended yet; add `{step}` to the `needs` of `{use.step}`"
    if len(path) < 3:
        return f"`steps.{step}` alone has no value; write `steps.{step}.output`"
    if path[2] not in STEP_FIELDS:
        return f"a step has no `{path[2]}`; it has `output` and `state`, so this may be `steps.{step}.output.{path[2]}`"
    return ""


def _hint(word: str, known: Collection[str]) -> str:
    close = difflib.get_close_matches(word, sorted(known), n=1)
    if close:
        return f"; did you mean `{close[0]}`?"
    return f"; there are {', '.join(sorted(known)[:20])}" if known else "; there are none"
