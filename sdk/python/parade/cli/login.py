"""`parade login`, `logout`, `token` and `whoami`: a person at the gateway, by an OpenID Connect issuer."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Final

import typer

from parade.cli.connection import with_mesh
from parade.cli.output import Format, Output, say, table, write
from parade.wire.errors import ParadeError, Reason

if TYPE_CHECKING:
    from parade.cli.login_file import Login
    from parade.wire.web import Answer

_TOLD: Final = {"issuer": "issuer", "client_id": "clientId", "audience": "audience", "scopes": "scopes"}
"""What a gateway says of its issuer, and under which name."""


def login(
    gateway: Annotated[
        str, typer.Option(metavar="URL", help="The gateway's URL; else that of the mesh that is found here, or of the login before.")
    ] = "",
    device: Annotated[bool, typer.Option("--device", help="Log in by a browser on another machine, where you enter a code.")] = False,
    browser: Annotated[bool, typer.Option(help="Open the page in a browser; else it is only printed.")] = True,
) -> None:
    """Log in as yourself, at the issuer that the gateway believes, so that programs can reach the mesh by REST for you.

    What you may do an admin says: `parade role grant oidc:<issuer>#<subject> developer`.

    For example:

        parade login --gateway https://mesh.example.com
    """
    from parade.cli.login_file import Login
    from parade.cli.login_issuer import Issuer

    where = _gateway(gateway)
    issuer = Issuer.of(_told(where))
    made: Login
    if device:
        made = issuer.by_code(where, lambda page, code: say(f"Open {page}\nand enter the code {code}"))
    else:
        made = issuer.by_browser(where, _opener(browser))
    _keep(made)
    say(f"logged in at {issuer.url} for {where}")


def logout() -> None:
    """Log out: the issuer is asked to forget the login, and this machine forgets it.

    A token that was given out before is good until it ends, which is minutes.

    For example:

        parade logout
    """
    from parade.cli.login_file import Login, alone, forget
    from parade.cli.login_issuer import Issuer

    with alone():
        try:
            there = Login.read()
        except ParadeError:
            forget()
            say("nobody was logged in")
            return
        forget()
    try:
        Issuer.of(_issuer_of(there)).give_back(there)
    except ParadeError as error:
        say(f"logged out here; {there.issuer} has not been told: {error.message}")
        return
    say(f"logged out of {there.issuer}")


def token() -> None:
    """Print the token of your login, renewed where it is about to end: for `Authorization: Bearer`.

    For example:

        curl -H "Authorization: Bearer $(parade token)" https://mesh.example.com/v1/agents
    """
    print(_current().token)


def whoami(
    namespace: Annotated[
        str, typer.Option("--namespace", metavar="NAMESPACE", help="In which namespace, by a login; else in `default`.")
    ] = "",
    output: Output = Format.TABLE,
) -> None:
    """Tell who you are to the mesh and what you may do there: by your login, or else by the certificate of the mesh that is found here.

    For example:

        parade whoami
    """
    from parade.cli.login_file import path

    if path().exists():
        row = _asked_of_gateway(namespace)
    else:
        if namespace:
            raise typer.BadParameter("is for who has logged in; a certificate has one namespace", param_hint="--namespace")
        from parade.cli.plain import state_name

        said = with_mesh(lambda mesh: mesh.who_am_i())
        row = said.subject, said.namespace, state_name(said, "role").lower()
    write(dict(zip(("subject", "namespace", "role"), row, strict=True)), output, table(("SUBJECT", "NAMESPACE", "ROLE"), [row], ""))


def _asked_of_gateway(namespace: str) -> tuple[str, str, str]:
    """Returns who has logged in here, in which namespace, and with which role, as the gateway has it."""
    from parade.wire import web

    known = _current()
    headers = {"authorization": f"Bearer {known.token}", **({"x-parade-namespace": namespace} if namespace else {})}
    answer = web.get(f"{known.gateway}/v1/whoami", headers)
    if answer.status != 200:
        raise _failure(answer)
    said = answer.document
    return str(said.get("subject")), str(said.get("namespace")), str(said.get("role")).removeprefix("ROLE_").lower()


def _current() -> "Login":
    """Returns the login with a token that is good for a while.

    Raises:
        ParadeError: UNAUTHENTICATED where there is none, or the issuer gives no other token.
    """
    import time

    from parade.cli.login_file import Login, alone
    from parade.cli.login_issuer import LATE, Issuer, expiry

    with alone():
        there = Login.read()
        if expiry(there.token) - time.time() > LATE:
            return there
        if not there.refresh_token:
            raise ParadeError(Reason.UNAUTHENTICATED, "the login has ended; log in again: `parade login`")
        renewed = Issuer.of(_issuer_of(there)).renewed(there)
        renewed.write()
        return renewed


def _keep(made: "Login") -> None:
    from parade.cli.login_file import alone

    with alone():
        made.write()


def _gateway(named: str) -> str:
    """Returns the URL of the gateway that is meant."""
    from parade.cli.login_file import Login
    from parade.wire.mesh_file import MeshFile

    if named:
        return named.rstrip("/")
    try:
        return MeshFile.find().rest.rstrip("/")
    except ParadeError:
        pass
    try:
        return Login.read().gateway
    except ParadeError:
        raise typer.BadParameter("say where the gateway is: no mesh is found here", param_hint="--gateway") from None


def _told(gateway: str) -> dict[str, str]:
    """Returns what a gateway says of its issuer."""
    from parade.wire import web

    answer = web.get(f"{gateway}/login.json")
    found = {name: answer.document.get(key) for name, key in _TOLD.items()}
    if answer.status != 200 or not all(isinstance(value, str) for value in found.values()):
        message = f"nobody logs in at {gateway}: its PARADE_GATEWAY_OIDC_ISSUER and PARADE_GATEWAY_OIDC_CLIENT_ID say where people do"
        raise ParadeError(Reason.FAILED_PRECONDITION, message)
    return {name: str(value) for name, value in found.items()}


def _issuer_of(there: "Login") -> dict[str, str]:
    return {name: getattr(there, name) for name in _TOLD}


def _failure(answer: "Answer") -> ParadeError:
    """Returns the failure that a gateway has answered with."""
    try:
        error = answer.document["error"]
        return ParadeError(Reason.named(error["details"][0]["reason"], Reason.INTERNAL), str(error["message"]))
    except (KeyError, IndexError, TypeError):
        return ParadeError(Reason.INTERNAL, f"the gateway has answered with {answer.status}, and does not say why")


def _opener(browser: bool) -> Callable[[str], None]:
    def open_page(page: str) -> None:
        say(f"Open {page}")
        if browser:
            import webbrowser

            webbrowser.open(page)

    return open_page
