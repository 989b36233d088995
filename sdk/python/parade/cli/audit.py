"""`parade audit`: who did what, who was refused, and whether what is on record is what was written."""

import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import nullcontext
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from parade.cli.connection import with_mesh
from parade.cli.output import Format, Output, say, stdout, style_of, write, write_next

if TYPE_CHECKING:
    from rich.text import Text

    from parade.audit_log import AuditLog
    from parade.client import Mesh
    from parade.v1.audit_pb2 import AuditEntry, ListAuditRequest
    from parade.wire.audit import Fault, Head

    Verified = tuple[str, int, list[Fault]]
    """A service, how many entries it has, and the faults of its log."""

app = typer.Typer(no_args_is_help=True, help="Who did what, who was refused, and whether that record is whole.")

LOOK = 1.0
"""Seconds between two looks for what is new."""
FOLLOWED = 1000
"""How many of the newest entries a look takes; where more are written between two, some are not shown."""
Named = tuple[str, "AuditEntry"]
"""A service and an entry of its log."""


class Service(StrEnum):
    """The services that keep an audit log."""

    AGENT_MANAGER = "agent_manager"
    DISPATCHER = "dispatcher"
    MONITOR = "monitor"
    SCHEDULER = "scheduler"


class Kind(StrEnum):
    """What an entry tells of."""

    ALLOW = "allow"
    DENY = "deny"
    CHANGE = "change"
    APPROVAL = "approval"


Only = Annotated[Service | None, typer.Option("--service", help="Only of this service.")]


@app.command()
def tail(
    service: Only = None,
    kind: Annotated[Kind | None, typer.Option(help="Only entries of this kind.")] = None,
    subject: Annotated[str, typer.Option(metavar="WHO", help="Only what this subject did, for example a SPIFFE id.")] = "",
    resource: Annotated[str, typer.Option(metavar="RESOURCE", help="Only what was done to this, for example runs/run-….")] = "",
    last: Annotated[int, typer.Option("--last", "-n", min=0, max=1000, help="How many of the newest to start with.")] = 50,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is written, until Ctrl-C.")] = False,
    output: Output = Format.TABLE,
) -> None:
    """Print the newest entries of the namespace, oldest first.

    With --follow, JSON is one entry a line.

    For example:

        parade audit tail --kind deny --follow
    """
    from parade.v1 import audit_pb2

    wanted = audit_pb2.ListAuditRequest(subject=subject, resource=resource)
    if kind is not None:
        wanted.kind = audit_pb2.AuditKind.Value(f"AUDIT_KIND_{kind.name}")

    async def work(mesh: "Mesh") -> None:
        logs = _logs(mesh, service)
        entries = await _newest(logs, wanted, last)
        if not follow:
            write([_plain(*one) for one in entries], output, *(_line(*one) for one in entries))
            return
        screen = stdout()
        async for name, entry in _followed(logs, wanted, entries):
            if output is Format.TABLE:
                screen.print(_line(name, entry), soft_wrap=True)
                screen.file.flush()
            else:
                write_next(_plain(name, entry), output)

    with_mesh(work)


@app.command()
def verify(
    service: Only = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(metavar="FILE", exists=True, dir_okay=False, help="What `parade audit export --checkpoint` wrote, kept elsewhere."),
    ] = None,
    export: Annotated[
        Path | None, typer.Option(metavar="FILE", exists=True, dir_okay=False, help="Verify this export, and ask no service.")
    ] = None,
) -> None:
    """Read every entry, and name the first of every chain that is not what was written.

    Without a checkpoint, a log that was cut at its end, or written anew from some entry on, looks whole.

    For example:

        parade audit verify --checkpoint /mnt/elsewhere/monday.json
    """
    from parade.audit_files import read_checkpoint, verified_export

    known = read_checkpoint(checkpoint.read_text(encoding="utf-8")) if checkpoint is not None else {}
    if export is not None:
        with export.open(encoding="utf-8") as lines:
            found = verified_export(lines, known)
    else:
        found = with_mesh(lambda mesh: _verified(_logs(mesh, service), known))
    for name, count, faults in found:
        if service is not None and name != service:
            continue
        for fault in faults:
            print(f"{name}: chain {fault.chain}, entry {fault.sequence}: {fault.message}")
        if not faults:
            print(f"{name}: {count:,} entries, all as they were written")
    if any(faults for _, _, faults in found):
        raise typer.Exit(1)


@app.command("export")
def export_log(
    file: Annotated[Path | None, typer.Option(metavar="FILE", dir_okay=False, help="Where to write; standard output else.")] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(metavar="FILE", dir_okay=False, help="Write a checkpoint too: keep it where nobody writes who can write the log."),
    ] = None,
    service: Only = None,
) -> None:
    """Write every entry as a line of JSON, and after those of each service where its chains end.

    Entries of other namespaces come sealed: with their places and hashes and nothing else.

    For example:

        parade audit export --file audit.jsonl --checkpoint /mnt/elsewhere/monday.json
    """
    from parade.audit_files import checkpoint_line, checkpoint_text, entry_line
    from parade.v1.audit_pb2 import AuditCheckpoint

    ends: list[AuditCheckpoint] = []

    async def work(mesh: "Mesh") -> int:
        count = 0
        with file.open("w", encoding="utf-8") if file is not None else nullcontext(sys.stdout) as target:
            for log in _logs(mesh, service):
                async for response in log.everything():
                    if response.HasField("entry"):
                        count += 1
                        target.write(entry_line(log.service, response.entry))
                    else:
                        ends.append(response.checkpoint)
                        target.write(checkpoint_line(response.checkpoint))
        return count

    count = with_mesh(work)
    if checkpoint is not None:
        checkpoint.write_text(checkpoint_text(ends), encoding="utf-8")
    say(f"{count:,} entries")


def _logs(mesh: "Mesh", service: Service | None) -> list["AuditLog"]:
    from parade.client import audit_log

    return [audit_log(mesh, one.value) for one in Service if service in (None, one)]


async def _verified(logs: Sequence["AuditLog"], known: "dict[str, list[Head]]") -> "list[Verified]":
    from parade.wire.audit import Fault

    found = []
    for log in logs:
        response = await log.verify(known.get(log.service, ()))
        faults = [Fault(fault.chain, fault.sequence, fault.message) for fault in response.faults]
        found.append((log.service, response.entry_count, faults))
    return found


async def _newest(logs: Sequence["AuditLog"], wanted: "ListAuditRequest", last: int) -> list[Named]:
    """Returns the newest entries of all logs, oldest first."""
    found = [(log.service, entry) for log in logs for entry in await log.newest(wanted, last)]
    found.sort(key=lambda one: (one[1].time.ToNanoseconds(), one[0], one[1].chain, one[1].sequence))
    return found[-last:] if last else []


async def _followed(logs: Sequence["AuditLog"], wanted: "ListAuditRequest", entries: list[Named]) -> AsyncIterator[Named]:
    import asyncio

    def place(one: Named) -> tuple[str, int, int]:
        return one[0], one[1].chain, one[1].sequence

    seen = set(map(place, await _newest(logs, wanted, FOLLOWED)))
    for one in entries:
        yield one
    while True:
        await asyncio.sleep(LOOK)
        newest = await _newest(logs, wanted, FOLLOWED)
        for one in newest:
            if place(one) not in seen:
                yield one
        seen |= set(map(place, newest))


def _plain(service: str, entry: "AuditEntry") -> dict[str, Any]:
    import orjson

    from parade.cli.plain import plain

    hashes = {"previousHash": entry.previous_hash.hex(), "hash": entry.hash.hex()}
    return {"service": service, **plain(entry), "facts": orjson.loads(entry.facts or "{}"), **hashes}


def _line(service: str, entry: "AuditEntry") -> "Text":
    from rich.text import Text

    from parade.cli.plain import local_time, state_name

    kind = state_name(entry, "kind").lower()
    line = Text.assemble(
        (f"{local_time(entry.time):%Y-%m-%d %H:%M:%S}", "dim"),
        " ",
        (f"{kind:8}", "red" if kind == "deny" else style_of(kind)),
        " ",
        f"{service:13} ",
        f"{entry.action.rpartition('/')[2] or '…':18} ",
        entry.subject or "somebody without a certificate",
    )
    if entry.resource:
        line.append(f"  {entry.resource}")
    line.append(f"  {entry.facts}" if entry.facts not in ("", "{}") else "", style="dim")
    return line
