import subprocess
import sys
from pathlib import Path

import pytest

from parade.cli import local
from tests.unit.cli.conftest import Parade

PARADE = Path(sys.executable).with_name("parade")


@pytest.mark.parametrize("command", ["dev", "down"])
def test_without_the_services_it_says_how_to_install_them(parade: Parade, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    monkeypatch.setattr(local, "MODULE", "parade_that_is_not_installed")

    result = parade(command)

    assert result.exit_code == 2
    assert result.stdout == ""
    assert "pip install parade-mesh" in result.stderr


def test_down_where_no_mesh_runs_says_so(folder: Path) -> None:
    result = subprocess.run([PARADE, "down", "--folder", "state"], capture_output=True, text=True, check=False, timeout=30)

    assert result.returncode == 0
    assert "no mesh runs" in result.stdout
