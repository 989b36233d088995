"""The audit logs of a whole mesh, by the command line and by REST."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from parade.testing import LocalMesh
from parade.wire.mesh_file import MeshFile
from tests.support.commands import parade as run

WORKFLOW = """
name: wait
steps:
  ask: {wait: {approval: {message: Shall we?}}}
"""

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in which a mesh runs, and in which somebody has done something."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "workflow.yaml").write_text(WORKFLOW)
    with LocalMesh(folder):
        of(folder, "workflow", "put", "workflow.yaml")
        started = run(folder, "run", "start", "wait", "--detach")
        assert run(folder, "run", "cancel", started.stdout.strip()).returncode == 0
        yield folder


def of(folder: Path, *arguments: str) -> Any:
    result = run(folder, *arguments, "-o", "json")
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_the_newest_entries_say_who_did_what(project: Path) -> None:
    entries = of(project, "audit", "tail", "--service", "scheduler", "--kind", "change")

    actions = [entry["action"].rpartition("/")[2] for entry in entries]
    assert actions == ["PutWorkflow", "StartRun", "CancelRun"]
    assert {entry["subject"] for entry in entries} == {"spiffe://parade.local/ns/default/client/developer"}
    assert "CancelRun" in run(project, "audit", "tail").stdout


def test_all_logs_verify_and_an_export_with_them(project: Path) -> None:
    exported = run(project, "audit", "export", "--file", "audit.jsonl", "--checkpoint", "checkpoint.json")
    assert exported.returncode == 0, exported.stderr

    verified = run(project, "audit", "verify", "--checkpoint", "checkpoint.json")
    assert verified.returncode == 0, verified.stderr
    assert verified.stdout.count("all as they were written") == 3
    offline = run(project, "audit", "verify", "--export", "audit.jsonl", "--checkpoint", "checkpoint.json")
    assert (offline.returncode, offline.stdout.count("all as they were written")) == (0, 3), offline.stderr

    lines = (project / "audit.jsonl").read_text().splitlines()
    place = next(number for number, line in enumerate(lines) if "CancelRun" in line)
    sequence = json.loads(lines[place])["sequence"]
    lines[place] = lines[place].replace("developer", "somebody")
    (project / "changed.jsonl").write_text("\n".join(lines))
    changed = run(project, "audit", "verify", "--export", "changed.jsonl")
    assert changed.returncode == 1
    assert f"scheduler: chain 0, entry {sequence}: its hash is not that of what it says" in changed.stdout


def test_a_checkpoint_that_the_log_no_longer_has_is_told(project: Path) -> None:
    assert run(project, "audit", "export", "--file", "audit.jsonl", "--checkpoint", "kept.json").returncode == 0
    kept = json.loads((project / "kept.json").read_text())
    kept["services"]["scheduler"]["heads"][0]["sequence"] += 100
    (project / "later.json").write_text(json.dumps(kept))

    verified = run(project, "audit", "verify", "--checkpoint", "later.json")

    assert verified.returncode == 1
    assert "it was cut" in verified.stdout
    assert "this is no checkpoint" in run(project, "audit", "verify", "--checkpoint", "audit.jsonl").stderr


def test_rest_has_the_log_of_every_service(project: Path) -> None:
    mesh = MeshFile.find(project)
    key = (mesh.folder / mesh.api_key).read_text().strip()
    with httpx.Client(base_url=mesh.rest, headers={"authorization": f"Bearer {key}"}) as client:
        listed = client.get("/v1/audit/scheduler", params={"kind": "AUDIT_KIND_CHANGE"})
        assert listed.status_code == 200, listed.text
        assert listed.json()["entries"][0]["action"].endswith("/CancelRun")
        checkpoint = client.get("/v1/audit/agent_manager:checkpoint").json()["checkpoint"]
        verified = client.post("/v1/audit/agent_manager:verify", json={"heads": checkpoint["heads"]}).json()
        assert (verified.get("faults", []), verified["checkpoint"]["service"]) == ([], "agent_manager")
        assert client.get("/v1/audit/gateway").status_code == 400
        assert client.get("/v1/audit/api_key_file").status_code == 400


def test_sessions_are_let_in_and_refusals_are_recorded(project: Path) -> None:
    assert run(project, "call", "nobody.nothing").returncode == 1

    deadline = time.monotonic() + 20
    while not (entries := of(project, "audit", "tail", "--service", "dispatcher", "--kind", "allow")):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert entries[0]["action"].endswith("DispatcherService/Session")
