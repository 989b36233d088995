"""`parade policy`: what is forbidden in a namespace whatever roles allow, and what needs an approval."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from parade.cli.connection import with_mesh
from parade.cli.group import FAILED
from parade.cli.output import Format, Output, say, table, write
from parade.cli.policy_options import Action, Asked, FunctionEffect
from parade.wire.errors import ParadeError, Reason

if TYPE_CHECKING:
    from parade.cli.policy_cases import CaseFile
    from parade.client import Mesh
    from parade.v1.policy_pb2 import PolicyDecision, TestPolicyResponse

app = typer.Typer(no_args_is_help=True, help="What is forbidden to whom whatever roles allow, and what needs an approval.")

Name = Annotated[str, typer.Argument(metavar="POLICY", help="Its name.")]
Expected = Annotated[
    int | None,
    typer.Option("--expected-version", min=0, help="Do it only where this is the newest version; 0 where there is no such policy."),
]


@app.command()
def put(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Its rules, in Cedar; - for standard input.")],
    name: Annotated[
        str, typer.Option(metavar="POLICY", help="What it is called; the file's name without its ending where not given.")
    ] = "",
    expected: Expected = None,
    output: Output = Format.TABLE,
) -> None:
    """Store a policy as a new version of its name. Within 10 seconds all services decide by it.

    For example:

        parade policy put payments.cedar
    """
    from parade.cli.plain import plain

    text = _text(file)
    policy = with_mesh(lambda mesh: mesh.put_policy(name or file.stem, text, expected_version=expected))
    if output is Format.TABLE:
        say(f"stored as version {policy.version}, with {policy.rule_count} {'rule' if policy.rule_count == 1 else 'rules'}, of")
        print(policy.name)
    else:
        write(plain(policy), output)


@app.command("list")
def list_policies(output: Output = Format.TABLE) -> None:
    """List the newest version of every policy.

    For example:

        parade policy list
    """
    from parade.cli.plain import local_time, plain

    policies = with_mesh(lambda mesh: mesh.policies())
    rows = [
        (one.name, str(one.version), str(one.rule_count), f"{local_time(one.create_time):%Y-%m-%d %H:%M:%S}", one.author)
        for one in policies
    ]
    empty = "There is no policy: what roles allow is done."
    write([plain(one) for one in policies], output, table(("POLICY", "VERSION", "RULES", "STORED", "BY"), rows, empty))


@app.command()
def get(
    name: Name,
    version: Annotated[int, typer.Option(min=0, help="Its version; the newest where 0.")] = 0,
    output: Output = Format.TABLE,
) -> None:
    """Print a policy as it was put.

    For example:

        parade policy get payments > payments.cedar
    """
    from parade.cli.plain import plain

    policy = with_mesh(lambda mesh: mesh.policy(name, version))
    if output is not Format.TABLE:
        write(plain(policy), output)
    elif policy.text:
        print(policy.text.rstrip("\n"))
    else:
        say(f"version {policy.version} says that {policy.name} was deleted")


@app.command()
def delete(name: Name, expected: Expected = None) -> None:
    """Delete a policy. Within 10 seconds no service decides by it.

    For example:

        parade policy delete payments
    """
    policy = with_mesh(lambda mesh: mesh.delete_policy(name, expected_version=expected))
    say(f"{policy.name} is deleted; its last text was version {policy.version}")


@app.command("test")
def try_cases(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The cases, YAML or JSON; - for standard input.")],
    output: Output = Format.TABLE,
) -> None:
    """Try policies by cases, each with what should become of it. Nothing is stored, and nothing is done.

    The file names the draft to try, or the stored policies are tried. Exits with 1 where a case fails.

    For example:

        parade policy test payments.cases.yaml
    """
    from parade.cli.plain import plain
    from parade.cli.policy_cases import read

    cases = read(file, _text(file))
    draft = _text(file.parent / cases.policy) if cases.policy else ""
    name = cases.name or Path(cases.policy or "draft").stem

    async def work(mesh: "Mesh") -> "TestPolicyResponse":
        return await mesh.test_policy(cases.messages(mesh.file), name=name, text=draft)

    result = with_mesh(work)
    if output is Format.TABLE:
        _show(cases, result)
    else:
        write(plain(result), output)
    if not result.passed:
        raise typer.Exit(FAILED)


@app.command()
def why(
    principal: Annotated[
        str, typer.Argument(metavar="WHO", help="A client's name, agent:NAME, key:ID, oidc:<issuer>#<subject>, or a SPIFFE id.")
    ],
    action: Annotated[Action, typer.Argument(metavar="ACTION", help="call, start, publish, read or write.")],
    resource: Annotated[str, typer.Argument(metavar="WHAT", help="A function, a workflow, or a topic; nothing for artifacts.")] = "",
    role: Annotated[Asked | None, typer.Option(help="As if it had this role.")] = None,
    label: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="As if the function's agent had this label; can be given again.")
    ] = None,
    effect: Annotated[FunctionEffect | None, typer.Option(help="As if the function had this effect.")] = None,
    actor: Annotated[
        list[str] | None, typer.Option("--actor", metavar="AGENT", help="As if this agent acted for it; can be given again.")
    ] = None,
    output: Output = Format.TABLE,
) -> None:
    """Tell what somebody may do, and which rules decide that. Nothing is done.

    For example:

        parade policy why reporting call payments.pay
    """
    from parade.cli.plain import plain
    from parade.cli.policy_cases import agent_id, subject_of

    answer = with_mesh(
        lambda mesh: mesh.explain_policy(
            subject_of(principal, mesh.file),
            action.value,
            "" if action in (Action.READ, Action.WRITE) and resource == "artifacts" else resource,
            role=role.value if role else None,
            labels=label or (),
            effect=effect.value if effect else "",
            actors=[agent_id(one, mesh.file) for one in actor or ()],
        )
    )
    if output is not Format.TABLE:
        write(plain(answer), output)
        return
    print(_decided(answer.decision))
    for rule in answer.decision.rules:
        print(f"\n// {rule.id}\n{rule.text}")


def _decided(decision: "PolicyDecision") -> str:
    from parade.cli.plain import state_name

    rules = ", ".join(rule.id for rule in decision.rules)
    match state_name(decision, "effect"):
        case "ALLOW":
            return "allowed: no rule forbids it"
        case "APPROVAL":
            return f"needs the approval of an {state_name(decision, 'approver').lower()}, by {rules}"
    return f"denied by {rules}" if rules else f"denied: {decision.reason}"


def _show(cases: "CaseFile", result: "TestPolicyResponse") -> None:
    rows = []
    for number, (case, became) in enumerate(zip(cases.cases, result.results, strict=True), 1):
        rows.append(("ok" if became.passed else "FAIL", str(number), case.title, case.expect.value, _decided(became.decision)))
    write(None, Format.TABLE, table(("", "CASE", "WHAT", "EXPECTED", "BECAME"), rows, "There is no case."))
    failed = sum(not one.passed for one in result.results)
    say(f"{failed} of {len(rows)} cases failed" if failed else f"all {len(rows)} cases passed")


def _text(file: Path) -> str:
    import sys

    try:
        return sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ParadeError(Reason.INVALID_ARGUMENTS, f"{file} cannot be read: {error}") from error
