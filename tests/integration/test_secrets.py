"""Secrets on a laptop: files in the mesh's folder, handed to functions over the whole mesh, and kept nowhere else."""

from pathlib import Path

import orjson

from parade.client import Mesh, connect
from parade.testing import LocalMesh
from parade_scheduler.definitions.secrets import FRESH
from tests.support.mesh import agent_process, ready
from tests.support.waiting import eventually

FIRST, SECOND = "k3y-of-the-bank", "an0ther-k3y-of-the-bank"


def workflow(folder: Path) -> str:
    """Returns one that writes a file which is named like a secret."""
    given = {"folder": str(folder), "name": "${{ secrets.bank_key }}"}
    return orjson.dumps({"name": "noting", "steps": {"a": {"call": "tested.note", "with": given}}}).decode()


MISFIT = orjson.dumps({"name": "misfit", "steps": {"a": {"call": "tested.sleep", "with": {"seconds": "${{ secrets.bank_key }}"}}}}).decode()


async def test_a_function_is_handed_a_secret_that_stands_nowhere_else(tmp_path: Path) -> None:
    noted = tmp_path / "noted"
    noted.mkdir()
    with LocalMesh(tmp_path) as file:
        folder = file.folder / "secrets" / "default"
        modes = [path.stat().st_mode & 0o777 for path in (folder.parent, folder)]
        (folder / "bank_key").write_text(f"{FIRST}\n")
        with agent_process(file):
            async with connect(file) as mesh:
                await ready(mesh, 1)
                await mesh.put_workflow(workflow(noted))
                await (await mesh.start("noting")).result()
                (folder / "bank_key").write_text(SECOND)
                await eventually(lambda: handed_out(mesh, noted / f"{SECOND}.ended"), within=FRESH + 10)
                await mesh.put_workflow(MISFIT)
                misfit = await (await mesh.start("misfit")).wait()

    assert modes == [0o700, 0o700]
    assert (noted / f"{FIRST}.ended").exists()
    assert [fault.description for fault in misfit.steps[0].error.violations] == ['"***" is not of type "number"']
    written = {path.name: path.read_bytes() for path in file.folder.rglob("*") if path.is_file() and path.parent != folder}
    assert {name for name, content in written.items() if b"tested.sleep" in content} >= {"scheduler.db", "monitor.db"}
    for value in (FIRST, SECOND):
        assert [name for name, content in written.items() if value.encode() in content] == []


async def handed_out(mesh: Mesh, trace: Path) -> bool:
    """Runs the workflow once more and tells whether its function left a trace."""
    await (await mesh.start("noting")).result()
    return trace.exists()
