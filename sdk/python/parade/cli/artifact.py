"""`parade artifact`: bytes that are too large to travel whole."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from parade.cli.connection import with_mesh
from parade.cli.output import Format, Output, say, write

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from parade.client import Mesh

app = typer.Typer(no_args_is_help=True, help="Bytes that are too large to travel whole, up to 1 GiB.")

PIECE_BYTES = 256 * 1024


@app.command()
def put(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What to store; - for standard input.")],
    media_type: Annotated[str, typer.Option(metavar="TYPE", help="What the bytes are; guessed from the file's name.")] = "",
    output: Output = Format.TABLE,
) -> None:
    """Store a file under its hash, which is printed. As JSON, what is printed is what a function takes.

    For example:

        parade artifact put sales.csv
    """
    import mimetypes

    standard_input = str(file) == "-"
    if not standard_input and not file.is_file():
        raise typer.BadParameter(f"{file} is no file that can be read")
    found = media_type or mimetypes.guess_type(file.name)[0] or "application/octet-stream"

    async def work(mesh: "Mesh") -> Any:
        return await mesh.put_artifact(_standard_input() if standard_input else file, media_type=found)

    artifact = with_mesh(work)
    if output is Format.TABLE:
        say(f"stored {artifact.size} bytes of {artifact.media_type} as")
        print(artifact.digest)
    else:
        write(artifact.to_json(), output)


@app.command()
def get(
    digest: Annotated[str, typer.Argument(metavar="DIGEST", help='Its name: "sha256:" and 64 hexadecimal digits.')],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to write it; - for standard output.")] = Path("-"),
) -> None:
    """Read an artifact. A file is written when all of it has come and is right.

    For example:

        parade artifact get sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 sales.csv
    """

    async def work(mesh: "Mesh") -> None:
        artifact = await mesh.artifact(digest)
        if str(file) != "-":
            await artifact.save(file)
            say(f"wrote {artifact.size} bytes of {artifact.media_type} to {file}")
            return
        async for piece in artifact.chunks():
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()

    with_mesh(work)


async def _standard_input() -> "AsyncIterator[bytes]":
    import asyncio

    while piece := await asyncio.to_thread(sys.stdin.buffer.read, PIECE_BYTES):
        yield piece
