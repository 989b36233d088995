"""`parade doctor`: looks at everything that a mesh needs, and says what to do about what is wrong."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from parade.cli.group import FAILED
from parade.cli.output import Format, Output, table, write

if TYPE_CHECKING:
    from parade.cli.finding import Finding


def doctor(output: Output = Format.TABLE) -> None:
    """Check this machine and the mesh.

    It says what to do about what is wrong. The exit code is 1 where something is.

    For example:

        parade doctor
    """
    import dataclasses

    findings = examine()
    rows = [("ok" if finding.ok else "fail", finding.check, finding.detail) for finding in findings]
    advice = [(f"{finding.check}:", finding.advice) for finding in findings if not finding.ok]
    plain = [{**dataclasses.asdict(finding), "advice": "" if finding.ok else finding.advice} for finding in findings]
    write(plain, output, table(("", "CHECK", "FOUND"), rows, ""), *(["", table(("WHAT", "TO DO"), advice, "")] if advice else []))
    if advice:
        raise typer.Exit(FAILED)


def examine() -> "list[Finding]":
    """Returns what every check found; those of the mesh only where there is a mesh file."""
    import asyncio

    from parade.cli.certificate_checks import certificate_finding
    from parade.cli.finding import Finding
    from parade.cli.machine_checks import machine_findings
    from parade.cli.mesh_checks import mesh_findings
    from parade.wire.errors import ParadeError
    from parade.wire.mesh_file import MeshFile

    try:
        mesh_file = MeshFile.find()
    except ParadeError as error:
        missing = Finding(
            "mesh file", ok=False, detail=error.message, advice="Start a mesh with `parade dev`, or name its file with --mesh."
        )
        return [*machine_findings(Path.cwd()), missing]
    certificates = certificate_finding(mesh_file)
    findings = [*machine_findings(mesh_file.folder), Finding("mesh file", ok=True, detail=str(mesh_file.path)), certificates]
    if certificates.ok:
        findings += asyncio.run(mesh_findings(mesh_file))
    return findings
