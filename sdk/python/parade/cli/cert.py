"""`parade cert`: a certificate authority in a folder, and what it has signed."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from parade.cli.arguments import duration
from parade.cli.cert_registry import list_certificates, revoke
from parade.cli.group import FAILED
from parade.cli.output import Format, Output, say, table, write
from parade.wire.identity import DEFAULT_DOMAIN, DEFAULT_NAMESPACE, NAME, SERVICES, Identity

if TYPE_CHECKING:
    from parade.wire.authority import State

app = typer.Typer(no_args_is_help=True, help="Certificates: an authority in a folder and what it has signed, and those of a running mesh.")

Folder = Annotated[Path, typer.Option("--folder", metavar="PATH", help="The folder of the certificate authority.")]
FOLDER = Path(".parade/certificates")
Domain = Annotated[str, typer.Option("--domain", metavar="NAME", help="The trust domain: the first part of every identity.")]


@app.command()
def init(
    folder: Folder = FOLDER,
    domain: Domain = DEFAULT_DOMAIN,
    lifetime: Annotated[
        str, typer.Option(metavar="DURATION", help="The longest that a certificate may be good; a rotation waits twice as long.")
    ] = "1h",
    output: Output = Format.TABLE,
) -> None:
    """Make a certificate authority.

    `parade dev` makes one by itself. Keep the folder as you keep a password: its key lets anybody in.

    For example:

        parade cert init --folder certificates --domain mesh.example.com
    """
    from parade.wire import authority

    if not _is_domain(domain):
        raise typer.BadParameter(f"{domain!r} is no trust domain; write lower-case letters, digits, '.', '-' and '_'")
    state = authority.create(folder, domain, timedelta(seconds=duration(lifetime)), datetime.now(UTC))
    _write_state(folder, state, output)


@app.command()
def issue(
    who: Annotated[str, typer.Argument(metavar="WHO", help="`service/NAME` or `client/NAME`. Agents enrol with a join token instead.")],
    folder: Folder = FOLDER,
    namespace: Annotated[str, typer.Option(metavar="NAME", help="The namespace of a client.")] = DEFAULT_NAMESPACE,
    lifetime: Annotated[
        str, typer.Option(metavar="DURATION", help="How long it is good; as long as the authority allows where not given.")
    ] = "",
    output: Output = Format.TABLE,
) -> None:
    """Issue a certificate with a fresh key, into the authority's folder.

    A service's files are NAME.pem and NAME.key, a client's client-NAME.pem and client-NAME.key. What was there before is replaced, both at
    once, and whoever uses the files takes them up.

    For example:

        parade cert issue client/ci --namespace team-a --lifetime 30m
    """
    from parade.wire import authority

    state = authority.State.read(folder)
    identity, name = _identity(who, namespace, state.domain)
    wanted = timedelta(seconds=duration(lifetime)) if lifetime else state.lifetime
    ends = authority.issue(folder, {name: identity}, wanted, datetime.now(UTC))
    paths = {
        "certificate": str(folder / f"{name}.pem"),
        "private_key": str(folder / f"{name}.key"),
        "trust_bundle": str(folder / authority.TRUST_BUNDLE),
    }
    rows = [("identity", identity.uri), ("good until", _time(ends)), *((key.replace("_", " "), path) for key, path in paths.items())]
    write({"spiffe_id": identity.uri, "expire_time": ends.isoformat(), **paths}, output, table(("", ""), rows, ""))


@app.command()
def verify(
    certificate: Annotated[Path, typer.Argument(metavar="FILE", help="The certificate, PEM, with those that lead to a root after it.")],
    trust_bundle: Annotated[
        Path | None, typer.Option(metavar="PATH", help="The roots to trust; ca.pem beside FILE where not given.")
    ] = None,
    key: Annotated[Path | None, typer.Option(metavar="PATH", help="Its private key, to see whether it is a pair with it.")] = None,
    domain: Domain = DEFAULT_DOMAIN,
    output: Output = Format.TABLE,
) -> None:
    """Check a certificate by the rules of the mesh's services, and say which of them it breaks.

    Whether it was revoked only a mesh knows: `parade cert list` shows that. The exit code is 1 where the certificate is not good.

    For example:

        parade cert verify tls.crt --key tls.key --trust-bundle ca.crt
    """
    from cryptography import x509

    from parade.cli.certificate_checks import fault_of
    from parade.wire.authority import TRUST_BUNDLE

    roots = certificate.parent / TRUST_BUNDLE if trust_bundle is None else trust_bundle
    chain, now = _read(certificate), datetime.now(UTC)
    try:
        fault = fault_of(chain, _read(roots), domain, now, None if key is None else _read(key))
        end = x509.load_pem_x509_certificate(chain).not_valid_after_utc
    except ValueError as error:
        raise typer.BadParameter(f"{certificate} or {roots} holds no certificate in PEM: {error}") from error
    found = {"ok": fault is None, "expire_time": end.isoformat(), "rule": fault.rule if fault else "", "fault": fault.text if fault else ""}
    rows = [("ok" if fault is None else "fail", fault.text if fault else f"good until {_time(end)}", fault.rule if fault else "")]
    write(found, output, table(("", "FOUND", "RULE"), rows, ""))
    if fault is not None:
        raise typer.Exit(FAILED)


@app.command()
def rotate(
    folder: Folder = FOLDER,
    status: Annotated[bool, typer.Option("--status", help="Only say where it stands.")] = False,
    output: Output = Format.TABLE,
) -> None:
    """Put a new root in the place of the old one, step by step, while everything runs.

    First both roots are trusted. Once every certificate has been renewed since, the new root signs. Once all that the old one has signed
    has ended, the new one alone is trusted. Each step waits for the longest life of a certificate. A mesh of `parade dev` takes the steps
    by itself; elsewhere give the command again when the next one is due. Given earlier it changes nothing.

    For example:

        parade cert rotate --folder .parade/certificates
    """
    from parade.wire import authority

    state = authority.State.read(folder) if status else authority.rotate(folder, datetime.now(UTC))
    _write_state(folder, state, output)


app.command("list")(list_certificates)
app.command()(revoke)


def _write_state(folder: Path, state: "State", output: Format) -> None:
    from parade.wire.authority import TRUST_BUNDLE, Step

    meaning = {
        Step.SETTLED: "one root is trusted, and signs",
        Step.BOTH_TRUSTED: "the new root is trusted beside the old one, which signs",
        Step.NEW_SIGNS: "the new root signs, and the old one is trusted still",
    }[state.step]
    found = {
        "folder": str(folder),
        "domain": state.domain,
        "lifetime": f"{state.lifetime.total_seconds():g}s",
        "step": state.step.name,
        "next_step_time": state.due.isoformat() if state.due else None,
        "trust_bundle": str(folder / TRUST_BUNDLE),
    }
    rows = [
        ("domain", state.domain),
        ("certificates", f"good for {state.lifetime} at most"),
        ("roots", meaning),
        *([("next step", f"from {_time(state.due)}")] if state.due else []),
        ("trust bundle", str(folder / TRUST_BUNDLE)),
    ]
    write(found, output, table(("", ""), rows, ""))
    if state.due and datetime.now(UTC) >= state.due:
        say(f"The next step is due: parade cert rotate --folder {folder}")


def _identity(who: str, namespace: str, domain: str) -> tuple[Identity, str]:
    """Returns who is meant, and what the files are called."""
    kind, _, name = who.partition("/")
    if kind == "service" and name in SERVICES:
        return Identity.service(name, domain), name
    if kind == "service":
        raise typer.BadParameter(f"there is no service {name!r}; there are {', '.join(SERVICES)}")
    if kind == "client" and NAME.fullmatch(name) and NAME.fullmatch(namespace):
        return Identity.client(name, namespace, domain), f"client-{name}"
    if kind == "client":
        raise typer.BadParameter("names are of lower-case letters, digits and '-', begin with a letter, and are at most 40 long")
    raise typer.BadParameter(f"{who!r} is not understood; write service/NAME or client/NAME")


def _is_domain(text: str) -> bool:
    return Identity.parse(Identity.client("a", domain=text).uri) is not None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise typer.BadParameter(f"{path} cannot be read: {error.strerror}") from error


def _time(time: datetime) -> str:
    return f"{time.astimezone():%Y-%m-%d %H:%M:%S}"
