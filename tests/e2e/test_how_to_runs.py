"""`docs/how-to/runs.md` is true: its workflow is stored, and its commands and programs are run as they stand there."""

import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from parade.testing import LocalMesh
from parade.wire.mesh_file import FILE_VARIABLE
from tests.support.mesh import ROOT

PAGE = (ROOT / "docs/how-to/runs.md").read_text()
PROGRAMS = Path(sys.executable).parent

pytestmark = pytest.mark.timeout(240)


def blocks(language: str) -> list[str]:
    return [str(text) for text in re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in which a mesh runs and the page's workflow is stored."""
    folder = tmp_path_factory.mktemp("order")
    [workflow] = blocks("yaml")
    (folder / "order.yaml").write_text(workflow)
    with LocalMesh(folder):
        stored = run(folder, "parade", "workflow", "put", "order.yaml")
        assert stored.returncode == 0, stored.stderr
        yield folder


def run(folder: Path, *command: str) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "PATH": f"{PROGRAMS}:/usr/bin:/bin", "NO_COLOR": "1"}
    environment.pop(FILE_VARIABLE, None)
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=90, stdin=subprocess.DEVNULL
    )


def test_the_commands_do_what_the_page_says(project: Path) -> None:
    said = []
    for commands in blocks("sh"):
        answer = run(project, "bash", "-ec", commands)
        assert answer.returncode == 0, f"{commands}\n{answer.stdout}{answer.stderr}"
        said.append(answer)

    paused, signalled, approved, repeated, _, many = said
    assert "PAUSED" in paused.stdout
    assert re.search(r"delivered +SUCCEEDED", signalled.stdout)
    assert '"parcels": 1' in approved.stdout
    assert '"parcels": 4' in repeated.stdout
    assert many.stdout.count("is being cancelled") == 2


def test_the_programs_do_what_the_page_says(project: Path) -> None:
    said = []
    for number, body in enumerate(blocks("python")):
        program = project / f"program{number}.py"
        inner = textwrap.indent(body, "        ")
        program.write_text(
            f"import asyncio\nimport parade\n\nasync def main():\n    async with parade.connect() as mesh:\n{inner}\nasyncio.run(main())\n"
        )
        answer = run(project, sys.executable, program.name)
        assert answer.returncode == 0, f"{body}\n{answer.stdout}{answer.stderr}"
        said.append(answer.stdout)

    _, approval, many = said
    assert "too much" in approval
    assert many == "1 False\n"
