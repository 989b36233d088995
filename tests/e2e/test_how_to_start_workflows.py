"""`docs/how-to/start-workflows.md` and `docs/reference/limits.md` are true: what the one shows is run, what the other says is set."""

import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from parade.sync import connect
from parade.testing import LocalMesh
from parade.wire.mesh_file import MeshFile
from parade_scheduler.config import Config
from tests.support import commands
from tests.support.commands import blocks
from tests.support.mesh import ROOT
from tests.support.waiting import eventually

PAGE = (ROOT / "docs/how-to/start-workflows.md").read_text()
LIMITS = (ROOT / "docs/reference/limits.md").read_text()

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in which a mesh runs."""
    folder = tmp_path_factory.mktemp("orders")
    [workflow] = blocks(PAGE, "yaml")
    (folder / "follow.yaml").write_text(workflow)
    with LocalMesh(folder):
        yield folder


def run(folder: Path, *command: str) -> str:
    answer = commands.run(folder, *command)
    assert answer.returncode == 0, f"{command}\n{answer.stdout}{answer.stderr}"
    return answer.stdout


async def test_the_page_does_what_it_says(project: Path) -> None:
    put, paid, shipped, scheduled, looked_after = blocks(PAGE, "sh")
    run(project, "bash", "-ec", put)
    assert run(project, "bash", "-ec", paid) == "payment-5678\n"

    with connect(MeshFile.read(project / ".parade" / "mesh.json")) as mesh:
        await eventually(lambda: [step.state for one in mesh.runs(workflow="follow") for step in mesh.run(one.id).get().steps] == [2])
        [started] = mesh.runs(workflow="follow")
        assert started.labels == {"event": "payment-5678"}
        assert started.id in run(project, "bash", "-ec", shipped)
        assert mesh.run(started.id).result(timeout=20) == {"by": "sea"}
    listed = run(project, "bash", "-ec", scheduled)
    assert "follow.1" in listed
    assert "hourly" in listed
    run(project, "bash", "-ec", looked_after)


def test_the_programs_do_what_the_page_says(project: Path) -> None:
    run(project, "parade", "workflow", "put", "follow.yaml")
    said = []
    for number, body in enumerate(blocks(PAGE, "python")):
        program = project / f"program{number}.py"
        inner = textwrap.indent(body, "        ")
        program.write_text(
            f"import asyncio\nimport parade\n\nasync def main():\n    async with parade.connect() as mesh:\n{inner}\nasyncio.run(main())\n"
        )
        said.append(run(project, sys.executable, program.name))

    assert said == ["payment-5679\n", "nightly True\n"]


def test_the_limits_are_those_that_are_set() -> None:
    told = dict(re.findall(r"^\| `PARADE_SCHEDULER_(MAX_\w+)` \| (\d+) \|", LIMITS, re.MULTILINE))

    assert {name.lower(): int(value) for name, value in told.items()} == {
        name: field.default for name, field in Config.model_fields.items() if name.startswith("max_")
    }
