"""A workflow's graph as an SVG picture that needs nothing else: no font, no script, no style from elsewhere.

What stands on the page is readable on a light and on a dark one: boxes bring their own ground, lines are of a grey between.
"""

import re
from html import escape

from parade.cli.graph_labels import WAITS, labels
from parade.cli.graph_layout import Box, Layout, Line, drawn_needs, lay_out
from parade.v1.scheduler_pb2 import WorkflowGraph, WorkflowStep
from parade.v1.step_kind_pb2 import StepKind

CHARACTER = 7.4
"""How wide a character is at most times in the font below, in pixels; wide ones of other scripts are counted twice."""
LINE = 17.0
PADDING = 12.0
DEPTH = 4.0
"""By how much the second box of a for-each stands out behind the first."""
CORNER = 6.0
"""The radius of a box's corners."""
TURN = 12.0
"""How far the arrow of a loop stands out of its box."""

STYLE = """
.step { fill: #ffffff; stroke: #57606a; stroke-width: 1.2 }
.conditional { stroke-dasharray: 5 4 }
.race, .run { stroke-width: 2.4 }
.need { fill: none; stroke: #8b949e; stroke-width: 1.4; marker-end: url(#head) }
text { font: 12px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; text-anchor: middle; fill: #57606a }
.racing { stroke-dasharray: 2 3 }
.id { font-weight: bold; fill: #1f2328 }
@media (prefers-color-scheme: dark) {
  .step { fill: #161b22; stroke: #8b949e }
  text { fill: #9da7b3 }
  .id { fill: #f0f6fc }
}
"""

HEAD = """\
<marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">
<path d="M0 0 8 4 0 8z" fill="#8b949e"/></marker>"""

_THICK = {StepKind.STEP_KIND_RACE: ["race"], StepKind.STEP_KIND_RUN: ["run"]}
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What may not stand in a document (https://www.w3.org/TR/xml/#charsets)."""


def svg(graph: WorkflowGraph) -> str:
    """Returns the picture.

    A step with `for-each` has a second box behind it, one with `if` a dashed border, one with `loop` an arrow to itself. What waits has
    round ends, a workflow that is run or a race a thick border, and the lines of what races are dotted.
    """
    needs = drawn_needs({step.id: step.needs for step in graph.steps}, {step.id: step.race for step in graph.steps})
    layout = lay_out(needs, {step.id: _size(step) for step in graph.steps})
    races = {step.id for step in graph.steps if step.race}
    width, height = f"{layout.width:.0f}", f"{layout.height:.0f}"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img">',
        f"<title>{_text(graph.name)}</title>",
        f"<desc>{_text(graph.description)}</desc>",
        f"<style>{STYLE}</style>",
        HEAD,
        *(_line(line, layout, racing=line.end in races) for line in layout.lines),
        *(_step(step, layout.boxes[step.id]) for step in graph.steps),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _size(step: WorkflowStep) -> tuple[float, float]:
    lines = labels(step)
    width = max(sum(2 if ord(character) > 0x2E80 else 1 for character in line) for line in lines)
    return width * CHARACTER + 2 * PADDING + (TURN if step.loop else 0.0), len(lines) * LINE + PADDING


def _line(line: Line, layout: Layout, *, racing: bool) -> str:
    """Draws a line: a curve between layers, straight through each that it passes."""
    start, end = layout.boxes[line.start], layout.boxes[line.end]
    x, y = start.middle, start.y + start.height
    path = [f"M{x:.1f} {y:.1f}"]
    for to, top, bottom in (*line.passages, (end.middle, end.y, end.y)):
        half = (y + top) / 2
        path.append(f"C{x:.1f} {half:.1f} {to:.1f} {half:.1f} {to:.1f} {top:.1f}")
        if bottom != top:
            path.append(f"V{bottom:.1f}")
        x, y = to, bottom
    return f'<path class="{"need racing" if racing else "need"}" d="{"".join(path)}"/>'


def _step(step: WorkflowStep, place: Box) -> str:
    box = Box(place.x, place.y, place.width - (TURN if step.loop else 0.0), place.height)
    corner = box.height / 2 if step.kind in WAITS else CORNER
    kind = " ".join(["step", *_THICK.get(step.kind, ()), *(["conditional"] if step.condition else [])])
    parts = ["<g>", f"<title>{_text(step.description or step.id)}</title>"]
    if step.loop:
        parts.append(_turn(box))
    if step.for_each:
        parts.append(_box(kind, box, DEPTH, corner))
    parts.append(_box(kind, box, 0, corner))
    for index, line in enumerate(labels(step)):
        name = ' class="id"' if index == 0 else ""
        parts.append(f'<text{name} x="{box.middle:.1f}" y="{box.y + PADDING / 2 + LINE * (index + 0.75):.1f}">{_text(line)}</text>')
    return "".join([*parts, "</g>"])


def _turn(box: Box) -> str:
    """Draws the arrow of a loop, out of the right side of a box and into it again."""
    right, upper, lower = box.x + box.width, box.y + box.height * 0.3, box.y + box.height * 0.7
    out = right + TURN * 1.3
    return f'<path class="need" d="M{right:.1f} {upper:.1f}C{out:.1f} {upper:.1f} {out:.1f} {lower:.1f} {right:.1f} {lower:.1f}"/>'


def _box(kind: str, box: Box, shift: float, corner: float) -> str:
    x, y = box.x + shift, box.y + shift
    return f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{box.width:.1f}" height="{box.height:.1f}" rx="{corner:.0f}"/>'


def _text(text: str) -> str:
    return escape(_NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text))
