from pathlib import Path

import yaml

from parade.serve import load
from tests.unit.cli.conftest import Parade


def test_init_writes_a_project(parade: Parade, folder: Path) -> None:
    result = parade("init", "greetings")

    assert result.exit_code == 0
    assert result.stdout == ""
    assert sorted(path.name for path in (folder / "greetings").iterdir()) == ["README.md", "agents.py", "workflow.yaml"]


def test_the_workflow_calls_functions_that_the_agent_has(parade: Parade, folder: Path) -> None:
    parade("init")

    agent = load("agents:greeter")
    workflow = yaml.safe_load((folder / "workflow.yaml").read_text())
    assert {step["call"] for step in workflow["steps"].values()} <= {f"greeter.{name}" for name in agent.functions}


def test_init_overwrites_nothing(parade: Parade, folder: Path) -> None:
    (folder / "README.md").write_text("mine")

    result = parade("init")

    assert result.exit_code == 2
    assert "README.md" in result.stderr
    assert [path.name for path in folder.iterdir()] == ["README.md"]
    assert (folder / "README.md").read_text() == "mine"


def test_init_says_where_it_cannot_write(parade: Parade, folder: Path) -> None:
    (folder / "file").write_text("")

    result = parade("init", "file")

    assert result.exit_code == 2
    assert "cannot be written to" in result.stderr
