"""A workflow's graph as a Mermaid flowchart (https://mermaid.js.org/syntax/flowchart.html)."""

import json

from parade.cli.graph_labels import labels
from parade.cli.graph_layout import direct_needs
from parade.v1.scheduler_pb2 import WorkflowGraph, WorkflowStep

_ENTITIES = str.maketrans({'"': "#quot;", "#": "#35;", "&": "#amp;", "<": "#lt;", ">": "#gt;"})
"""Mermaid writes the entities of HTML with `#`."""


def mermaid(graph: WorkflowGraph) -> str:
    """Returns the flowchart. A step with `for-each` has a second edge on each side, one with `if` a dashed border."""
    needs = direct_needs({step.id: step.needs for step in graph.steps})
    lines = ["---", f"title: {json.dumps(graph.name)}", "---", "flowchart TD"]
    lines += [f"    {_name(step.id)}{_node(step)}" for step in graph.steps]
    lines += [f"    {_name(needed)} --> {_name(step)}" for step, needed_steps in needs.items() for needed in needed_steps]
    if any(step.condition for step in graph.steps):
        lines.append("    classDef conditional stroke-dasharray: 5 4")
    return "\n".join(lines) + "\n"


def _name(step: str) -> str:
    """Returns what a step is called in the chart: `end` and other words are Mermaid's own."""
    return f"step_{step}"


def _node(step: WorkflowStep) -> str:
    text = "<br/>".join(line.translate(_ENTITIES) for line in labels(step))
    shape = f'[["{text}"]]' if step.for_each else f'["{text}"]'
    return f"{shape}:::conditional" if step.condition else shape
