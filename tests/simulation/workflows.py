"""Workflows by chance: every kind of step, in every company."""

import random
from typing import Any, Final

SIGNALS: Final = ("go", "stop")
EVENTS: Final = ("paid", "shipped")
_KINDS: Final = ("call",) * 6 + ("run", "approval", "signal", "timer", "event", "race")


def workflow(chance: random.Random, name: str, others: list[str]) -> dict[str, Any]:
    """Makes a workflow that may run some others."""
    steps: dict[str, Any] = {}
    for number in range(chance.randint(1, 5)):
        step = _step(chance, list(steps), others)
        if step.pop("compensated", False):
            step["compensate"] = {"call": "shop.undo", "with": {"of": "${{ output }}"}}
        steps[f"s{number}"] = step
    made: dict[str, Any] = {"name": name, "steps": steps}
    if chance.random() < 0.15:
        made["timeout"] = f"{chance.randint(5, 60)}s"
    if chance.random() < 0.2:
        made["concurrency"] = {"group": name, "limit": chance.randint(1, 2)}
        if chance.random() < 0.3:
            made["concurrency"]["cancel-in-progress"] = True
    return made


def _step(chance: random.Random, earlier: list[str], others: list[str]) -> dict[str, Any]:
    kind = chance.choice(_KINDS)
    needs = chance.sample(earlier, chance.randint(0, min(2, len(earlier))))
    if kind == "race":
        if len(earlier) < 2:
            kind = "call"
        else:
            return {"race": chance.sample(earlier, 2)}
    if kind == "run" and not others:
        kind = "call"
    step: dict[str, Any] = {"needs": needs} if needs else {}
    condition = chance.choice(("", "", "", "", "success || failure", "failure"))
    if condition and needs:
        step["if"] = condition
    match kind:
        case "call":
            step |= _call(chance, needs)
        case "run":
            step |= {"run": chance.choice(others), "compensated": chance.random() < 0.3}
        case "approval":
            step |= {"wait": {"approval": {}}}
        case "signal":
            step |= {"wait": {"signal": chance.choice(SIGNALS)}}
        case "timer":
            return step | {"wait": {"timer": f"{chance.choice((1, 3, 12, 20))}s"}}
        case "event":
            step |= {"wait": {"event": {"type": chance.choice(EVENTS)}}}
    if chance.random() < 0.25:
        step["timeout"] = f"{chance.choice((2, 5, 25))}s"
    return step


def _call(chance: random.Random, needs: list[str]) -> dict[str, Any]:
    step: dict[str, Any] = {"call": chance.choice(("shop.pure", "shop.effect", "shop.effect")), "compensated": chance.random() < 0.4}
    if chance.random() < 0.5:
        step["retry"] = {"attempts": chance.randint(1, 3), "delay": chance.choice(("200ms", "1s"))}
    match chance.choice(("", "", "", "each", "loop")):
        case "each":
            step["for-each"] = list(range(chance.randint(0, 4)))
            step["max-parallel"] = chance.randint(1, 3)
        case "loop":
            step["loop"] = {"until": f"${{{{ index == {chance.randint(0, 3)} }}}}", "limit": chance.randint(1, 4)}
    if needs and chance.random() < 0.3:
        step["with"] = {"seen": f"${{{{ steps.{needs[0]}.output }}}}"}
    return step
