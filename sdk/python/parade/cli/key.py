"""`parade key`: the keys with which programs outside the mesh reach its REST port."""

from typing import TYPE_CHECKING, Annotated

import typer

from parade.cli.connection import with_mesh
from parade.cli.output import Format, Output, say, table, write
from parade.cli.permission_options import Namespace, RoleOption, seconds_of

if TYPE_CHECKING:
    from google.protobuf.timestamp_pb2 import Timestamp

    from parade.v1.key_pb2 import Key

app = typer.Typer(no_args_is_help=True, help="The API keys of programs that reach the mesh by REST; for admins.")


@app.command()
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is for.")],
    role: Annotated[RoleOption, typer.Option(help="What it may do at most; it never may more than you.")] = RoleOption.VIEWER,
    namespace: Namespace = "",
    expires: Annotated[str, typer.Option(metavar="TIME", help="How long it is good: 30m, 12h, 90d; at most 366d.")] = "90d",
    output: Output = Format.TABLE,
) -> None:
    """Make an API key and print it. It is shown this once: the mesh keeps a hash.

    For example:

        parade key create nightly-import --role developer --expires 30d
    """
    from parade.cli.plain import plain

    lifetime = seconds_of(expires)
    made = with_mesh(lambda mesh: mesh.create_key(name, role.value, namespace=namespace, lifetime=lifetime))
    if output is Format.TABLE:
        key = made.key
        say(f"key {key.id} for {key.name}: {role.value} in {key.namespace} until {_time(key.expire_time)}; it is not shown again")
        print(made.secret)
    else:
        write({"key": plain(made.key), "secret": made.secret}, output)


@app.command("list")
def list_keys(namespace: Namespace = "", output: Output = Format.TABLE) -> None:
    """List API keys, those too that were revoked or have expired in the last 30 days.

    For example:

        parade key list
    """
    from parade.cli.plain import plain, state_name

    keys = with_mesh(lambda mesh: mesh.keys(namespace))
    rows = [
        (key.id, key.name, key.namespace, state_name(key, "role").lower(), _state(key), _time(key.expire_time), key.created_by)
        for key in keys
    ]
    headings = ("KEY", "NAME", "NAMESPACE", "ROLE", "STATE", "EXPIRES", "MADE BY")
    write([plain(key) for key in keys], output, table(headings, rows, "There is no key; make one with `parade key create`."))


@app.command()
def revoke(id: Annotated[str, typer.Argument(metavar="KEY", help="Its id, as `parade key list` shows it.")]) -> None:
    """Revoke an API key for good: within 10 seconds it opens nothing, nor do the keys that were made with it.

    For example:

        parade key revoke 4fJk29sLq0
    """
    key = with_mesh(lambda mesh: mesh.revoke_key(id))
    say(f"key {key.id} for {key.name} is revoked")


def _state(key: "Key") -> str:
    from parade.cli.plain import state_name

    if key.HasField("revoke_time"):
        return "revoked"
    effective = state_name(key, "effective_role").lower()
    if effective == "none":
        from datetime import UTC, datetime

        return "expired" if key.expire_time.ToDatetime(UTC) <= datetime.now(UTC) else "its maker has no role"
    return "active" if key.effective_role == key.role else f"only {effective}, as its maker"


def _time(time: "Timestamp") -> str:
    from parade.cli.plain import local_time

    return f"{local_time(time):%Y-%m-%d %H:%M}"
