"""`parade call`: one function, one answer."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from parade.cli.arguments import Document, Pairs, duration, named_values
from parade.cli.connection import with_mesh
from parade.cli.output import Format, Output, write_next, write_value

if TYPE_CHECKING:
    from parade.client import Mesh


def call(
    function: Annotated[str, typer.Argument(help="Its full name, agent.function.", metavar="FUNCTION")],
    pairs: Pairs = None,
    document: Document = None,
    timeout: Annotated[
        float | None, typer.Option(parser=duration, metavar="DURATION", help="How long to wait; 60s where not given.")
    ] = None,
    stream: Annotated[bool, typer.Option("--stream", help="Print each item as a line of JSON as soon as it comes.")] = False,
    output: Output = Format.TABLE,
) -> None:
    """Call a function and print its result.

    A function that yields items is called with --stream. On a terminal its progress is shown while it runs.

    For example:

        parade call greeter.greet name=Ada --timeout 5s
    """
    arguments = named_values(pairs, document)

    async def work(mesh: "Mesh") -> None:
        import sys

        if not stream and not sys.stderr.isatty():
            write_value(await mesh.call(function, arguments, timeout=timeout), output)
            return
        await _show_events(mesh.events(function, arguments, timeout=timeout), output, stream=stream)

    with_mesh(work, traced=True)


async def _show_events(events: Any, output: Format, *, stream: bool) -> None:
    from parade.calls import Progress
    from parade.cli.progress import ProgressLine

    with ProgressLine() as line:
        async for event in events:
            if isinstance(event, Progress):
                line.show(event)
                continue
            line.clear()
            if stream:
                write_next(event, output)
            else:
                write_value(event, output)
