"""`parade trace`: where the time of one request went, over all processes."""

import re
from collections import defaultdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from parade.cli.connection import with_mesh
from parade.cli.output import Format, Output, write

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.tree import Tree

    from parade.client import Mesh
    from parade.v1.monitor_pb2 import Span

_TRACE_ID = re.compile(r"[0-9a-f]{32}")


def trace(
    id: Annotated[str, typer.Argument(metavar="TRACE|RUN", help="A trace's id, 32 hexadecimal digits, or a run's.")],
    output: Output = Format.TABLE,
) -> None:
    """Show where the time of a request went.

    It is shown as a tree with durations, over all processes. A trace can be seen about two seconds after it happened.

    For example:

        parade trace 4bf92f3577b34da6a3ce929d0e0e4736
    """
    from parade.cli.plain import plain

    async def spans_of(mesh: "Mesh") -> "Sequence[Span]":
        if _TRACE_ID.fullmatch(id.lower()):
            return await mesh.trace(id.lower())
        return await mesh.trace((await mesh.run(id).get()).trace_id)

    spans = with_mesh(spans_of)
    write([plain(span) for span in spans], output, *_trees(spans))


def _trees(spans: "Sequence[Span]") -> "list[Tree]":
    """Returns a tree for each span without a parent here: one, unless the trace's head has not arrived."""
    from rich.tree import Tree

    known = {span.span_id for span in spans}
    children: dict[str, list[Any]] = defaultdict(list)
    for span in sorted(spans, key=lambda span: span.start_time.ToNanoseconds()):
        children[span.parent_span_id if span.parent_span_id in known else ""].append(span)

    start = min((span.start_time.ToNanoseconds() for span in spans), default=0)

    def grow(tree: Tree, parent: str) -> None:
        for span in children[parent]:
            grow(tree.add(_label(span, start)), span.span_id)

    trees = []
    for root in children[""]:
        tree = Tree(_label(root, start), guide_style="dim")
        grow(tree, root.span_id)
        trees.append(tree)
    return trees


def _label(span: "Span", start: int) -> Any:
    from rich.text import Text

    from parade.v1 import monitor_pb2

    began, ended = span.start_time.ToNanoseconds(), span.end_time.ToNanoseconds()
    failed = span.status == monitor_pb2.SPAN_STATUS_ERROR
    label = Text.assemble(
        (span.name, "red" if failed else "bold"),
        "  ",
        duration_text((ended - began) / 1e9),
        (f"  +{duration_text((began - start) / 1e9)}", "dim"),
    )
    label.append(f"  {span.service}", style="cyan")
    if span.instance_id:
        label.append(f" {span.instance_id}", style="dim")
    if failed:
        label.append(f"  {span.status_message}", style="red")
    return label


def duration_text(seconds: float) -> str:
    """Returns a duration as people read it: 0.4 ms, 12 ms, 1.50 s, 3 min 20 s."""
    if seconds < 0.01:
        return f"{seconds * 1000:.1f} ms"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.2f} s"
    return f"{seconds // 60:.0f} min {seconds % 60:.0f} s"
