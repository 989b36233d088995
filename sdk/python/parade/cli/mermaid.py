"""A workflow's graph as a Mermaid flowchart (https://mermaid.js.org/syntax/flowchart.html)."""

import json

from parade.cli.graph_labels import WAITS, labels
from parade.cli.graph_layout import drawn_needs
from parade.v1.scheduler_pb2 import WorkflowGraph, WorkflowStep
from parade.v1.step_kind_pb2 import StepKind

_ENTITIES = str.maketrans({'"': "#quot;", "#": "#35;", "&": "#amp;", "<": "#lt;", ">": "#gt;"})
"""Mermaid writes the entities of HTML with `#`."""


def mermaid(graph: WorkflowGraph) -> str:
    """Returns the flowchart.

    A step with `for-each` has a second edge on each side, one with `if` a dashed border, one with `loop` an arrow to itself. What waits
    has round ends, a workflow that is run slanted ones, a race six corners and dotted arrows from its steps.
    """
    needs = drawn_needs({step.id: step.needs for step in graph.steps}, {step.id: step.race for step in graph.steps})
    races = {step.id for step in graph.steps if step.race}
    lines = ["---", f"title: {json.dumps(graph.name)}", "---", "flowchart TD"]
    lines += [f"    {_name(step.id)}{_node(step)}" for step in graph.steps]
    lines += [
        f"    {_name(needed)} {'-.->' if step in races else '-->'} {_name(step)}"
        for step, needed_steps in needs.items()
        for needed in needed_steps
    ]
    lines += [f"    {_name(step.id)} --> {_name(step.id)}" for step in graph.steps if step.loop]
    if any(step.condition for step in graph.steps):
        lines.append("    classDef conditional stroke-dasharray: 5 4")
    return "\n".join(lines) + "\n"


def _name(step: str) -> str:
    """Returns what a step is called in the chart: `end` and other words are Mermaid's own."""
    return f"step_{step}"


def _node(step: WorkflowStep) -> str:
    text = "<br/>".join(line.translate(_ENTITIES) for line in labels(step))
    opening, closing = _shape(step)
    shape = f'{opening}"{text}"{closing}'
    return f"{shape}:::conditional" if step.condition else shape


def _shape(step: WorkflowStep) -> tuple[str, str]:
    """Returns what a step's text stands between."""
    if step.kind == StepKind.STEP_KIND_RACE:
        return "{{", "}}"
    if step.for_each:
        return "[[", "]]"
    if step.kind == StepKind.STEP_KIND_RUN:
        return "[/", "/]"
    return ("([", "])") if step.kind in WAITS else ("[", "]")
