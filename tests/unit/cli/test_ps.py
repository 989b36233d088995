import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from parade.cli.ps import services
from parade.wire.mesh_file import MeshFile
from tests.unit.cli.conftest import Parade


def dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def entry(state: str, pid: int) -> dict[str, Any]:
    return {"name": "monitor", "id": "monitor-0", "address": "127.0.0.1:1", "pid": pid, "state": state, "restarts": 0}


def states(folder: Path, supervisor: int, *entries: dict[str, Any]) -> list[str]:
    (folder / "state.json").write_text(json.dumps({"pid": supervisor, "services": entries}))
    return [row["state"] for row in services(MeshFile(folder))]


def test_a_service_whose_process_lives_is_as_the_mesh_says(tmp_path: Path) -> None:
    assert states(tmp_path, os.getpid(), entry("ready", os.getpid()), entry("stopped", 0)) == ["ready", "stopped"]


def test_a_service_whose_process_is_gone_is_dead(tmp_path: Path) -> None:
    assert states(tmp_path, os.getpid(), entry("ready", dead_pid()), entry("starting", 0)) == ["dead", "dead"]


def test_a_service_comes_back_only_while_somebody_restarts_it(tmp_path: Path) -> None:
    assert states(tmp_path, os.getpid(), entry("restarting", 0)) == ["restarting"]
    assert states(tmp_path, dead_pid(), entry("restarting", 0)) == ["dead"]


def test_where_no_local_mesh_writes_a_state_only_addresses_are_known(tmp_path: Path) -> None:
    rows = services(MeshFile(tmp_path, services={"monitor": "10.0.0.1:8001"}))

    assert rows == [{"id": "monitor", "name": "monitor", "kind": "service", "address": "10.0.0.1:8001", "pid": 0, "state": "unknown"}]


@pytest.fixture
def stopped_mesh(folder: Path) -> None:
    state = folder / ".parade"
    state.mkdir()
    (state / "mesh.json").write_text(json.dumps({"version": 1, "services": {"monitor": "127.0.0.1:1"}}))
    (state / "state.json").write_text(json.dumps({"pid": dead_pid(), "services": [entry("ready", dead_pid())]}))


@pytest.mark.usefixtures("stopped_mesh")
def test_services_are_listed_where_the_mesh_does_not_answer(parade: Parade) -> None:
    result = parade("ps", "-o", "json")

    assert result.exit_code == 2
    assert [(row["id"], row["kind"], row["state"]) for row in json.loads(result.stdout)] == [("monitor-0", "service", "dead")]
    assert "does not run" in result.stderr


@pytest.mark.usefixtures("stopped_mesh")
def test_a_table_has_the_same_content(parade: Parade) -> None:
    lines = parade("ps").stdout.splitlines()

    assert lines[0].split() == ["KIND", "NAME", "ID", "ADDRESS", "PID", "STATE"]
    assert lines[1].split()[:4] == ["service", "monitor", "monitor-0", "127.0.0.1:1"]
    assert lines[1].split()[-1] == "dead"


def test_a_broken_state_file_is_an_error(parade: Parade, folder: Path, stopped_mesh: None) -> None:
    (folder / ".parade" / "state.json").write_text("{")

    result = parade("ps")

    assert result.exit_code == 1
    assert "state.json is not usable" in result.stderr
