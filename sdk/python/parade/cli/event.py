"""`parade event`: tells the mesh that something has happened."""

from typing import Annotated

import typer

from parade.cli.arguments import Document, Pairs, named_values
from parade.cli.connection import with_mesh
from parade.cli.output import Format, Output, say, write

app = typer.Typer(no_args_is_help=True, help="Tell the mesh that something has happened.")


@app.callback()
def events() -> None:
    """Tell the mesh that something has happened."""


@app.command()
def publish(
    type: Annotated[str, typer.Argument(metavar="TYPE", help="What kind of event it is, for example order.paid.")],
    pairs: Pairs = None,
    document: Document = None,
    event_id: Annotated[
        str, typer.Option("--id", metavar="ID", help="Names the event: publishing it again with the same name changes nothing.")
    ] = "",
    output: Output = Format.TABLE,
) -> None:
    """Publish an event: steps that wait for one like it go on, and workflows that begin on one like it are started.

    For example:

        parade event publish order.paid order=1234 amount=99.5 --id payment-5678
    """
    value = named_values(pairs, document) if pairs or document is not None else None
    published = with_mesh(lambda mesh: mesh.publish_event(type, value, event_id=event_id))
    if output is Format.TABLE:
        say("published")
        print(published)
    else:
        write({"eventId": published}, output)
