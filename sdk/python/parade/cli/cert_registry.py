"""`parade cert list` and `parade cert revoke`: the certificates that a running mesh has issued."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from parade.cli.connection import with_mesh
from parade.cli.output import Format, Output, say, table, write

if TYPE_CHECKING:
    from google.protobuf.timestamp_pb2 import Timestamp

    from parade.v1.certificate_pb2 import Certificate


class State(StrEnum):
    """Which certificates are wanted."""

    ACTIVE = "active"
    SUPERSEDED = "superseded"
    REVOKED = "revoked"
    EXPIRED = "expired"


def list_certificates(
    spiffe_id: Annotated[str, typer.Option("--id", metavar="SPIFFE_ID", help="Only those of this identity.")] = "",
    state: Annotated[State | None, typer.Option(help="Only those in this state.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 1000,
    output: Output = Format.TABLE,
) -> None:
    """List the certificates that the running mesh has given to instances of agents. Those that have ended leave the list.

    For example:

        parade cert list --state active
    """
    from parade.cli.plain import plain

    found = with_mesh(lambda mesh: mesh.certificates(spiffe_id, state=state.value if state else None, limit=limit))
    headings = ("SERIAL", "STATE", "ISSUED", "EXPIRES", "IDENTITY")
    rows = [(one.serial, _state(one), _time(one.issue_time), _time(one.expire_time), one.spiffe_id) for one in found]
    write([plain(one) for one in found], output, table(headings, rows, "No certificate was found."))


def revoke(
    subject: Annotated[str, typer.Argument(metavar="SERIAL|SPIFFE_ID", help="A certificate, or an identity with all its certificates.")],
    reason: Annotated[str, typer.Option(help="Why; the holder is told.")] = "",
    output: Output = Format.TABLE,
) -> None:
    """Revoke a certificate or an identity for good. Within 10 seconds nobody in the mesh lets it in, and what it has open ends.

    An agent's instance that is revoked ends with status 1. To let its agent in again make another join token.

    For example:

        parade cert revoke spiffe://parade.local/ns/default/agent/greeter/i-01hzy3 --reason "the host was stolen"
    """
    from parade.cli.plain import plain

    revocation = with_mesh(lambda mesh: mesh.revoke(subject, reason=reason))
    if output is Format.TABLE:
        say(f"{revocation.spiffe_id or revocation.serial} is revoked, as of {_time(revocation.revoke_time)}")
    else:
        write(plain(revocation), output)


def _state(certificate: "Certificate") -> str:
    from parade.cli.plain import state_name

    return state_name(certificate).lower()


def _time(time: "Timestamp") -> str:
    from parade.cli.plain import local_time

    return f"{local_time(time):%Y-%m-%d %H:%M:%S}"
