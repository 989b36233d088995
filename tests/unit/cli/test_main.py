import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from parade.cli.main import app
from tests.unit.cli.conftest import Parade

WAITS = 30


def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, command in group.commands.items():
        yield (*path, name), command
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))


ALL = list(commands(typer.main.get_command(app)))


@pytest.mark.parametrize("path", [" ".join(path) for path, command in ALL if not hasattr(command, "commands")])
def test_every_command_has_help_with_an_example(parade: Parade, path: str) -> None:
    result = parade(*path.split(), "--help")

    assert result.exit_code == 0
    assert f"parade {path.removesuffix(' start')}" in result.stdout.partition("For example:")[2]


@pytest.mark.parametrize(("path", "command"), [(" ".join(path), command) for path, command in ALL if not hasattr(command, "commands")])
def test_every_option_says_what_it_does(path: str, command: Any) -> None:
    assert [option.name for option in command.params if not option.help] == []


def test_version_is_printed_alone(parade: Parade) -> None:
    result = parade("--version")

    assert result.exit_code == 0
    assert result.stdout.startswith("parade 0.")
    assert result.stderr == ""


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys; from parade.cli.main import app\n"
        "heavy = {'grpc', 'google.protobuf', 'opentelemetry', 'pydantic', 'cryptography', 'rich', 'asyncio', 'yaml'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )

    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=WAITS)

    assert result.stdout == "[]\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("call",),
        ("call", "a.f", "not-a-pair"),
        ("call", "a.f", "--json", "[]"),
        ("call", "a.f", "--timeout", "soon"),
        ("call", "a.f", "-o", "xml"),
        ("call", "a.f", "--priority", "101"),
        ("call", "a.f", "--label", "gpu"),
        ("call", "a.f", "--start", "--stream"),
        ("run", "cancel"),
        ("run", "cancel", "run_1", "--workflow", "flow"),
        ("run", "rerun", "--state", "gone"),
        ("run", "list", "--since", "soon"),
        ("run", "list", "--input", "n"),
        ("run", "fork", "run_1"),
        ("approve", "--state", "gone"),
        ("call", "a.f", "--start", "--timing"),
        ("call", "a.f", "--stream", "--timing"),
        ("calls", "list", "--state", "tired"),
        ("calls", "wait", "call-1", "--timeout", "soon"),
        ("artifact", "put", "nowhere.csv"),
        ("run", "nowhere.yaml"),
        ("run", "start"),
        ("run", "list", "--state", "tired"),
        ("workflow", "put", "nowhere.yaml"),
        ("workflow", "check", "nowhere.yaml"),
        ("workflow", "check"),
        ("workflow", "graph", "nowhere.yaml"),
        ("workflow", "graph", "flow", "--format", "png"),
        ("agent", "serve", "a:b", "--instances", "0"),
        ("logs", "--severity", "loud"),
        ("--mesh", "nowhere", "ps"),
    ],
)
def test_a_command_line_that_is_not_understood_exits_with_2(parade: Parade, arguments: tuple[str, ...]) -> None:
    result = parade(*arguments)

    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("ps",),
        ("call", "greeter.greet", "name=Ada"),
        ("call", "greeter.greet", "--start"),
        ("calls", "list"),
        ("calls", "get", "call-1"),
        ("calls", "wait", "call-1"),
        ("calls", "cancel", "call-1"),
        ("artifact", "get", "sha256:00"),
        ("run", "sales-report"),
        ("run", "list"),
        ("workflow", "list"),
        ("workflow", "graph", "sales-report"),
        ("agent", "list"),
        ("function", "list"),
        ("logs",),
        ("trace", "run_1"),
    ],
)
def test_without_a_mesh_every_command_says_so_and_exits_with_2(parade: Parade, arguments: tuple[str, ...]) -> None:
    result = parade(*arguments)

    assert result.exit_code == 2
    assert result.stdout == ""
    assert "no mesh here" in result.stderr
    assert "`parade dev`" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_mesh_that_was_stopped_is_seen_at_once(parade: Parade, folder: Path) -> None:
    state = folder / ".parade"
    state.mkdir()
    (state / "mesh.json").write_text('{"version": 1, "services": {"dispatcher": "127.0.0.1:1"}}')

    result = parade("call", "greeter.greet")

    assert result.exit_code == 2
    assert "does not run" in result.stderr


def test_mesh_takes_the_folder_too(parade: Parade, folder: Path) -> None:
    state = folder / "elsewhere"
    state.mkdir()
    (state / "mesh.json").write_text('{"version": 1, "services": {"dispatcher": "127.0.0.1:1"}}')

    result = parade("--mesh", str(state), "agent", "list")

    assert result.exit_code == 2
    assert str(state / "mesh.json") in result.stderr
