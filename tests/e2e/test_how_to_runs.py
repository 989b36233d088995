"""`docs/how-to/runs.md` is true: its workflow is stored, and its commands and programs are run as they stand there."""

import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from parade.testing import LocalMesh
from tests.support.commands import blocks, run
from tests.support.mesh import ROOT

PAGE = (ROOT / "docs/how-to/runs.md").read_text()

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in which a mesh runs and the page's workflow is stored."""
    folder = tmp_path_factory.mktemp("order")
    [workflow] = blocks(PAGE, "yaml")
    (folder / "order.yaml").write_text(workflow)
    with LocalMesh(folder):
        stored = run(folder, "parade", "workflow", "put", "order.yaml")
        assert stored.returncode == 0, stored.stderr
        yield folder


def test_the_commands_do_what_the_page_says(project: Path) -> None:
    said = []
    for commands in blocks(PAGE, "sh"):
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
    for number, body in enumerate(blocks(PAGE, "python")):
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
