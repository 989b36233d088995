"""The audit logs of a whole mesh, by the command line and by REST."""

import asyncio
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from parade.testing import LocalMesh
from parade.v1 import (
    agent_manager_pb2,
    agent_manager_pb2_grpc,
    dispatcher_pb2,
    dispatcher_pb2_grpc,
    monitor_pb2,
    monitor_pb2_grpc,
    scheduler_pb2,
    scheduler_pb2_grpc,
)
from parade.wire.channel import Channel
from parade.wire.errors import ParadeError, Reason
from parade.wire.identity import Identity
from parade.wire.mesh_file import MeshFile
from parade_chassis.audit_decisions import INTERVAL
from tests.integration.test_access import MeshAuthority
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
    assert verified.stdout.count("all as they were written") == 4
    offline = run(project, "audit", "verify", "--export", "audit.jsonl", "--checkpoint", "checkpoint.json")
    assert (offline.returncode, offline.stdout.count("all as they were written")) == (0, 4), offline.stderr

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


def test_who_opens_a_session_is_recorded(project: Path) -> None:
    assert run(project, "call", "nobody.nothing").returncode == 1

    [entry] = recorded(project, "dispatcher", "allow", "developer")
    assert entry["action"].endswith("DispatcherService/Session")


def test_who_is_refused_is_recorded_by_each_service(project: Path) -> None:
    mesh = MeshFile.find(project)
    bob = Identity.client("bob", "default")

    async def ask() -> None:
        source = MeshAuthority(mesh).source(bob)
        for service, stub, method, request in (
            ("agent_manager", agent_manager_pb2_grpc.AgentManagerServiceStub, "PauseAgent", agent_manager_pb2.PauseAgentRequest(name="a")),
            ("dispatcher", dispatcher_pb2_grpc.DispatcherServiceStub, "Call", dispatcher_pb2.CallRequest(function="a.b")),
            ("monitor", monitor_pb2_grpc.MonitorServiceStub, "QueryLogs", monitor_pb2.QueryLogsRequest()),
            ("scheduler", scheduler_pb2_grpc.SchedulerServiceStub, "CancelRun", scheduler_pb2.CancelRunRequest(run_id="run-1")),
        ):
            async with Channel(mesh.services[service], source, Identity.service(service).server_name) as channel:
                for _ in range(3):
                    with pytest.raises(ParadeError) as refused:
                        await getattr(stub(channel.for_stubs()), method)(request)
                    assert refused.value.reason is Reason.PERMISSION_DENIED

    asyncio.run(ask())

    asked = {"agent_manager": "PauseAgent", "dispatcher": "Call", "monitor": "QueryLogs", "scheduler": "CancelRun"}
    with ThreadPoolExecutor() as pool:
        found = list(pool.map(lambda service: recorded(project, service, "deny", "bob"), asked))
    for method, entries in zip(asked.values(), found, strict=True):
        assert {entry["action"].rpartition("/")[2] for entry in entries} == {method}
        assert {entry["facts"]["reason"] for entry in entries} == {"PERMISSION_DENIED"}
        assert sum(entry["facts"]["count"] for entry in entries) == 3


def recorded(project: Path, service: str, kind: str, client: str) -> list[dict[str, Any]]:
    """Returns the entries of a kind that a client caused, once there are any and no more come."""
    subject = Identity.client(client, "default").uri
    deadline, found = time.monotonic() + 30, list[dict[str, Any]]()
    while True:
        before, found = found, list(of(project, "audit", "tail", "--service", service, "--kind", kind, "--subject", subject))
        if found and found == before:
            return found
        assert time.monotonic() < deadline
        time.sleep(INTERVAL + 0.5)
