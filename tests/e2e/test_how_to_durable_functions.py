"""`docs/how-to/durable-functions.md` is true: its agent is served, and its commands and programs are run as they stand there."""

import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from parade.testing import LocalMesh
from tests.support.commands import PROGRAMS, blocks, run
from tests.support.mesh import ROOT
from tests.support.waiting import eventually

PAGE = (ROOT / "docs/how-to/durable-functions.md").read_text()

pytestmark = pytest.mark.timeout(180)


AGENT, STARTING, APPROVING, TESTING = blocks(PAGE, "python")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in which a mesh runs and the page's agent is served."""
    folder = tmp_path_factory.mktemp("travel")
    (folder / "agents.py").write_text(AGENT)
    with LocalMesh(folder):
        command = [str(PROGRAMS / "parade"), "agent", "serve", "agents:travel"]
        with subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as serving:
            try:
                yield folder
            finally:
                serving.terminate()
                serving.wait(15)


async def served(folder: Path) -> None:
    await eventually(lambda: run(folder, "parade", "call", "travel.cancel", "booking=none").returncode == 0, within=30)


async def test_the_command_does_what_the_page_says(project: Path) -> None:
    await served(project)
    [command] = blocks(PAGE, "sh")

    answer = run(project, "bash", "-ec", command, PYTHONPATH=str(project))

    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.splitlines()[-1] == "2"


async def test_its_definition_is_its_code(project: Path) -> None:
    await served(project)

    answers = [run(project, "parade", "workflow", command, "travel.trip") for command in ("get", "graph")]

    assert [answer.returncode for answer in answers] == [1, 1]
    assert all("travel.trip is a durable function: its definition is the code" in answer.stderr for answer in answers)


async def test_the_programs_do_what_the_page_says(project: Path) -> None:
    await served(project)
    said = []
    for number, body in enumerate((STARTING, APPROVING)):
        script = project / f"program_{number}.py"
        main = f"async def main():\n    async with parade.connect() as mesh:\n{textwrap.indent(body, ' ' * 8)}"
        script.write_text(f"import asyncio\n\nimport parade\n\n\n{main}\n\nasyncio.run(main())\n")
        answer = run(project, sys.executable, str(script), PYTHONPATH=str(project))
        assert answer.returncode == 0, answer.stderr
        said.append(answer.stdout)

    assert said == ["3\n", "2 nights in Rome\n"]


def test_the_rehearsal_ends_as_the_page_says(tmp_path: Path) -> None:
    (tmp_path / "agents.py").write_text(AGENT)
    (tmp_path / "rehearse.py").write_text(TESTING)

    answer = run(tmp_path, sys.executable, str(tmp_path / "rehearse.py"))

    [ending] = blocks(PAGE, "text")
    assert answer.returncode == 1
    assert answer.stderr.splitlines()[-1] == ending.strip()
