"""`docs/how-to/calls.md` is true: its agent is served, and its commands and programs are run as they stand there."""

import re
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

PAGE = (ROOT / "docs/how-to/calls.md").read_text()

pytestmark = pytest.mark.timeout(180)


AGENT, *PYTHON = blocks(PAGE, "python")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in which a mesh runs and the page's agent is served."""
    folder = tmp_path_factory.mktemp("shop")
    (folder / "agents.py").write_text(AGENT)
    with LocalMesh(folder):
        command = [str(PROGRAMS / "parade"), "agent", "serve", "agents:shop"]
        with subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as serving:
            try:
                yield folder
            finally:
                serving.terminate()
                serving.wait(15)


async def served(folder: Path) -> None:
    await eventually(lambda: run(folder, "parade", "call", "shop.price", "item=pear").returncode == 0, within=30)


async def test_the_commands_do_what_the_page_says(project: Path) -> None:
    await served(project)
    said = []
    for commands in blocks(PAGE, "sh"):
        answer = run(project, "bash", "-ec", commands)
        assert answer.returncode == 0, f"{commands}\n{answer.stdout}{answer.stderr}"
        said.append(answer)

    deadline, effect, _, only, long, stream, large, timing = said
    assert deadline.stdout == only.stdout == "10.0\n"
    assert effect.stdout == "ordered 3 pear\n" * 2
    assert "shop.take_stock" in long.stdout
    assert long.stdout.splitlines()[-1] == "stopped"
    assert stream.stdout == '"item 0"\n"item 1"\n"item 2"\n'
    assert large.stdout == "2\n"
    assert (project / "copy.csv").read_text() == "pear\nplum\n"
    assert re.search(r"queued .*, transport .*, executing ", timing.stderr)


async def test_the_programs_do_what_the_page_says(project: Path) -> None:
    await served(project)
    said = []
    for number, body in enumerate(PYTHON):
        program = project / f"program{number}.py"
        inner = textwrap.indent(body, "        ")
        program.write_text(
            f"import asyncio\nimport parade\n\nasync def main():\n    async with parade.connect() as mesh:\n{inner}\nasyncio.run(main())\n"
        )
        answer = run(project, sys.executable, program.name)
        assert answer.returncode == 0, f"{body}\n{answer.stdout}{answer.stderr}"
        said.append(answer.stdout)

    deadline, cancel, effect, long, stream, large, timing = said
    assert deadline == "DEADLINE_EXCEEDED\n"
    assert cancel == ""
    assert effect == "ordered 1 plum\n" * 2
    assert "\n5\n" in long
    assert "STOPPED" in long
    assert stream.endswith("item 5\n")
    assert large.startswith("2\n")
    assert (project / "again.csv").read_text() == "pear\nplum\n"
    assert timing.startswith("10.0 ")
