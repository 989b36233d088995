"""`parade role`: what clients and people may do."""

from typing import TYPE_CHECKING, Annotated

import typer

from parade.cli.connection import with_mesh
from parade.cli.output import Format, Output, say, table, write
from parade.cli.permission_options import RoleOption

if TYPE_CHECKING:
    from parade.wire.mesh_file import MeshFile

app = typer.Typer(no_args_is_help=True, help="What clients and people may do; for admins.")

Subject = Annotated[str, typer.Argument(metavar="SUBJECT", help="A client's name or SPIFFE id, or a person as oidc:<issuer>#<subject>.")]
Where = Annotated[str, typer.Option("--namespace", metavar="NAMESPACE", help='In which namespace; else in your own. "*" is all of them.')]


@app.command()
def grant(
    subject: Subject,
    role: Annotated[RoleOption, typer.Argument(metavar="ROLE", help="viewer, developer, operator or admin.")],
    namespace: Where = "",
    output: Output = Format.TABLE,
) -> None:
    """Grant a role, in place of the one that the subject had there.

    A viewer reads. A developer calls functions and starts runs too. An operator does so with everybody's runs, decides on approvals, and
    pauses agents. An admin lets in and keeps out.

    For example:

        parade role grant reporting viewer
    """
    from parade.cli.plain import plain

    granted = with_mesh(lambda mesh: mesh.grant_role(_subject(subject, namespace, mesh.file), role.value, namespace=namespace))
    if output is Format.TABLE:
        say(f"{granted.subject} is {role.value} in {granted.namespace}")
    else:
        write(plain(granted), output)


@app.command("list")
def list_roles(namespace: Where = "", output: Output = Format.TABLE) -> None:
    """List who has which role.

    For example:

        parade role list
    """
    from parade.cli.plain import local_time, plain, state_name

    grants = with_mesh(lambda mesh: mesh.roles(namespace))
    rows = [
        (one.subject, one.namespace, state_name(one, "role").lower(), one.granted_by, f"{local_time(one.grant_time):%Y-%m-%d %H:%M}")
        for one in grants
    ]
    headings = ("SUBJECT", "NAMESPACE", "ROLE", "GRANTED BY", "WHEN")
    write([plain(one) for one in grants], output, table(headings, rows, "Nobody has a role here."))


@app.command()
def revoke(subject: Subject, namespace: Where = "") -> None:
    """Take a role away. What the subject has open ends within 10 seconds, and keys that it made open nothing.

    For example:

        parade role revoke reporting
    """
    taken = with_mesh(lambda mesh: mesh.revoke_role(_subject(subject, namespace, mesh.file), namespace=namespace))
    say(f"{taken.subject} has no role in {taken.namespace} any more")


def _subject(text: str, namespace: str, mesh: "MeshFile") -> str:
    """Returns a subject as the mesh has it: a plain name is a client of the namespace."""
    from parade.wire.identity import NAME, Identity

    home = namespace if NAME.fullmatch(namespace) else mesh.namespace
    return Identity.client(text, home, mesh.domain).uri if NAME.fullmatch(text) else text
