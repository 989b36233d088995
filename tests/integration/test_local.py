"""`parade dev`: it starts, says what dies, ends at once, leaves nothing behind, and does not get in another's way."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from parade.client import connect
from parade.testing import LocalMesh
from parade.wire.mesh_file import MeshFile
from tests.support.mesh import kill, wait_until_back

LOCAL = [sys.executable, "-P", "-m", "parade_local"]

pytestmark = pytest.mark.timeout(120)


def local(*arguments: str, folder: Path, timeout: float = 60) -> "subprocess.CompletedProcess[str]":
    command = [*LOCAL, *arguments, "--state", str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=timeout)


def processes(mesh: MeshFile) -> list[int]:
    state = json.loads((mesh.folder / "state.json").read_text())
    return [state["pid"], *(service["pid"] for service in state["services"])]


async def test_two_meshes_in_two_folders_do_not_collide(own_mesh: MeshFile, tmp_path: Path) -> None:
    with LocalMesh(tmp_path / "second") as second:
        assert not {*own_mesh.services.values(), own_mesh.rest} & {*second.services.values(), second.rest}
        async with connect(own_mesh, traced=False) as one, connect(second, traced=False) as other:
            assert await one.agents() == await other.agents() == []


def test_a_second_start_in_a_folder_is_refused(own_mesh: MeshFile) -> None:
    answer = local("up", "--detach", folder=own_mesh.folder)

    assert answer.returncode == 1
    assert "already" in answer.stderr


def test_it_starts_in_the_background_and_ends_without_a_trace(tmp_path: Path) -> None:
    started = local("up", "--detach", folder=tmp_path / ".parade")
    mesh = MeshFile.read(tmp_path / ".parade" / "mesh.json")
    running = processes(mesh)
    alive = [psutil.pid_exists(pid) for pid in running]
    began = time.monotonic()

    ended = local("down", folder=mesh.folder)

    key = (mesh.folder / mesh.api_key).read_text().strip()
    assert (started.returncode, ended.returncode) == (0, 0), started.stderr
    assert all(alive)
    assert time.monotonic() - began < 6
    assert not any(psutil.pid_exists(pid) for pid in running)
    assert mesh.rest in started.stdout
    assert key in started.stdout
    assert key not in (mesh.folder / "dev.log").read_text()


def test_ctrl_c_ends_it_within_five_seconds(tmp_path: Path) -> None:
    local_mesh = LocalMesh(tmp_path)
    with local_mesh as mesh:
        running = processes(mesh)
        began = time.monotonic()
        os.kill(running[0], signal.SIGINT)
        psutil.wait_procs([psutil.Process(running[0])], timeout=5)

        assert time.monotonic() - began < 5
        assert not any(psutil.pid_exists(pid) for pid in running[1:])


def test_a_service_that_dies_comes_back_and_it_is_said(tmp_path: Path) -> None:
    local_mesh = LocalMesh(tmp_path)
    with local_mesh as mesh:
        wait_until_back(mesh, "dispatcher", kill(mesh, "dispatcher"))

        assert "dispatcher was ended by SIGKILL; starting it again" in local_mesh.log


def test_the_services_end_with_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    with LocalMesh(tmp_path) as mesh:
        running = processes(mesh)
        os.kill(running[0], signal.SIGKILL)

        services = [psutil.Process(pid) for pid in running[1:] if psutil.pid_exists(pid)]
        _, left = psutil.wait_procs(services, timeout=10)
        assert left == []


def test_it_starts_again_where_it_was_killed(tmp_path: Path) -> None:
    with LocalMesh(tmp_path) as mesh:
        for pid in processes(mesh):
            os.kill(pid, signal.SIGKILL)
    (tmp_path / ".parade" / "mesh.json").unlink()
    again = local("up", "--detach", folder=tmp_path / ".parade")
    try:
        assert again.returncode == 0, again.stderr
    finally:
        local("down", folder=tmp_path / ".parade")
