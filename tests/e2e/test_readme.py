"""The README is true: its commands and programs are run as they stand there."""

import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from parade.wire.mesh_file import MeshFile
from parade_scheduler import language
from tests.support.mesh import ROOT, environment
from tests.support.waiting import eventually

README = (ROOT / "README.md").read_text()
PROGRAMS = Path(sys.executable).parent

pytestmark = pytest.mark.timeout(120)


def block(language: str, beginning: str) -> str:
    """Returns the README's block of a language that holds a text."""
    blocks = re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    return next(str(text) for text in blocks if beginning in text)


def shell(command: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    found = {**os.environ, "PATH": f"{PROGRAMS}:/usr/bin:/bin", "NO_COLOR": "1"}
    found.pop("PARADE_MESH", None)
    return subprocess.run(["bash", "-c", command], cwd=folder, env=found, capture_output=True, text=True, check=False, timeout=60)


@pytest.fixture
def stopped_at_the_end(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    shell("parade down", tmp_path / "hello")


async def test_the_first_mesh_works_as_it_is_written(stopped_at_the_end: Path) -> None:
    lines = [line.partition("#")[0].strip() for line in block("sh", "parade init").splitlines()]
    assert lines[0].startswith("make runnable")
    made, folder = lines[1].split(" && cd ")
    hello = stopped_at_the_end / folder
    said: dict[str, str] = {}
    agents: subprocess.Popen[str] | None = None
    try:
        answer = shell(made, stopped_at_the_end)
        assert answer.returncode == 0, answer.stderr
        for command in lines[2:]:
            if command.endswith("&"):
                agents = serving(command.removesuffix("&"), hello)
                await eventually(lambda: shell("parade call greeter.greet name=x", hello).returncode == 0, within=30)
                continue
            answer = shell(command, hello)
            assert answer.returncode == 0, f"{command}\n{answer.stdout}{answer.stderr}"
            said[command] = answer.stdout
    finally:
        if agents is not None:
            agents.terminate()
            agents.wait(15)

    assert "Ada" in said["parade call greeter.greet name=Ada"]
    assert "Ada" in said["parade run workflow.yaml"]
    assert said["parade ps"].count("greeter") == 2


def serving(command: str, folder: Path) -> "subprocess.Popen[str]":
    words = command.split()
    return subprocess.Popen(
        [str(PROGRAMS / words[0]), *words[1:]], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True
    )


async def test_the_agent_in_15_lines_is_an_agent(own_mesh: MeshFile, tmp_path: Path) -> None:
    program = tmp_path / "agent.py"
    program.write_text(block("python", "agent.serve()"))
    agent = subprocess.Popen(
        [sys.executable, str(program)], env=environment(own_mesh), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        command = f"PARADE_MESH={own_mesh.path} parade call analyst.describe prices='[1.5, 2.5]' -o json"
        await eventually(lambda: shell(command, tmp_path).returncode == 0, within=30)
        answer = shell(command, tmp_path)
    finally:
        agent.terminate()
        agent.wait(15)

    assert '"rows": 2' in answer.stdout
    assert len([line for line in program.read_text().splitlines() if line.strip()]) <= 15


async def test_the_program_of_the_first_mesh_runs(own_mesh: MeshFile, tmp_path: Path) -> None:
    assert shell("parade init hello", tmp_path).returncode == 0
    body = textwrap.indent(block("python", "parade.connect()"), "    ")
    program = tmp_path / "program.py"
    program.write_text(f"import asyncio\nimport parade\n\nasync def main():\n{body}\nasyncio.run(main())\n")
    agents = subprocess.Popen(
        [sys.executable, "-m", "parade.serve", "agents:greeter"],
        cwd=tmp_path / "hello",
        env=environment(own_mesh),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        put = f"PARADE_MESH={own_mesh.path} parade workflow put workflow.yaml"
        await eventually(lambda: shell(put, tmp_path / "hello").returncode == 0, within=30)
        answer = subprocess.run(
            [sys.executable, str(program)], env=environment(own_mesh), capture_output=True, text=True, check=False, timeout=60
        )
    finally:
        agents.terminate()
        agents.wait(15)

    assert answer.returncode == 0, answer.stderr
    assert "RUN_SUCCEEDED" in answer.stdout
    assert "Ada" in answer.stdout


@pytest.mark.parametrize(("page", "names"), [("README.md", ["prices"]), ("docs/reference/workflows.md", ["prices", "close-books"])])
def test_the_workflows_on_the_pages_are_accepted(page: str, names: list[str]) -> None:
    workflows = re.findall(r"^```yaml\n(.*?)^```", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)

    assert [language.read(source).name for source in workflows] == names


def test_the_promises_name_tests_that_exist() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)`", README)

    assert named
    assert all((ROOT / path).exists() for path in named)


def test_the_links_lead_somewhere() -> None:
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if not link.startswith("http")]

    assert all((ROOT / link).exists() for link in links), links
