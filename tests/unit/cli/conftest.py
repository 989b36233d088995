"""A command line to try: in a folder of its own, where no mesh is known."""

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from parade.cli.main import app

Parade = Callable[..., Result]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    # Set first, so that what a command sets is taken back at the end.
    monkeypatch.setenv("PARADE_MESH", "none")
    monkeypatch.delenv("PARADE_MESH")
    return tmp_path


@pytest.fixture
def parade(folder: Path) -> Parade:
    runner = CliRunner()

    def invoke(*arguments: str, stdin: str = "") -> Result:
        return runner.invoke(app, arguments, input=stdin, prog_name="parade")

    return invoke
