"""Policies from the command line and by REST, against a whole mesh."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from parade.client import Mesh
from parade.wire.mesh_file import MeshFile
from tests.support.commands import parade

pytestmark = pytest.mark.timeout(180)

RULES = """\
// Nobody of the tests is one of these.
@id("never")
forbid (principal == Parade::Client::"visitor", action == Parade::Action::"call", resource)
when { resource.agent == "tested" && resource.effect == Parade::Effect::"effect" };

@id("ask") @approval("admin")
forbid (principal == Parade::Client::"visitor", action == Parade::Action::"call", resource == Parade::Function::"tested.echo");
"""
CASES = """\
policy: draft.cedar
cases:
  - principal: visitor
    role: developer
    action: call
    resource: tested.pay
    effect: effect
    expect: deny
    rules: ["draft#never"]
  - description: a visitor asks before it says something
    principal: visitor
    role: developer
    action: call
    resource: tested.echo
    actors: [tested]
    expect: approval
  - principal: agent:tested
    action: call
    resource: tested.pay
    expect: {expect}
  - principal: visitor
    role: viewer
    action: start
    resource: nightly
    expect: deny
"""


@pytest.fixture
def folder(shared_mesh: MeshFile, tmp_path: Path) -> Path:
    """A folder with a draft in it, from which the shared mesh is reached."""
    (tmp_path / "draft.cedar").write_text(RULES)
    return tmp_path


@pytest.fixture
def stored(shared_mesh: MeshFile, folder: Path) -> Iterator[str]:
    """The name of a policy that is there for a test."""
    result = said(shared_mesh, folder, "put", "draft.cedar", "--name", "visitors")
    assert result["ruleCount"] == 2
    yield "visitors"
    parade(folder, "--mesh", str(shared_mesh.path), "policy", "delete", "visitors")


def command(mesh: MeshFile, folder: Path, *arguments: str) -> Any:
    return parade(folder, "--mesh", str(mesh.path), "policy", *arguments)


def said(mesh: MeshFile, folder: Path, *arguments: str) -> Any:
    result = command(mesh, folder, *arguments, "-o", "json")
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_a_policy_is_put_listed_shown_changed_and_deleted(shared_mesh: MeshFile, folder: Path, stored: str) -> None:
    (folder / "shorter.cedar").write_text(RULES.partition('@id("ask")')[0])
    first = said(shared_mesh, folder, "get", stored)
    stale = command(shared_mesh, folder, "put", "shorter.cedar", "--name", stored, "--expected-version", "0")
    second = said(shared_mesh, folder, "put", "shorter.cedar", "--name", stored, "--expected-version", str(first["version"]))
    listed = {one["name"]: one for one in said(shared_mesh, folder, "list")}
    shown = command(shared_mesh, folder, "get", stored, "--version", str(first["version"]))
    deleted = command(shared_mesh, folder, "delete", stored)
    gone = command(shared_mesh, folder, "get", stored)

    assert first["author"] == "spiffe://parade.local/ns/default/client/developer"
    assert (stale.returncode, "FAILED_PRECONDITION" in stale.stderr) == (1, True)
    assert (second["version"], second["ruleCount"]) == (first["version"] + 1, 1)
    assert listed[stored]["version"] == second["version"]
    assert shown.stdout == RULES
    assert (deleted.returncode, gone.returncode) == (0, 1)
    assert "NOT_FOUND" in gone.stderr


def test_every_fault_of_a_text_is_shown(shared_mesh: MeshFile, folder: Path) -> None:
    (folder / "bad.cedar").write_text('permit (principal, action, resource);\n@approval("me") forbid (principal, action, resource);')

    result = command(shared_mesh, folder, "put", "bad.cedar")

    assert result.returncode == 1
    assert "text.1: permits, which roles do and policies never" in result.stderr
    assert "text.2: @approval must name operator or admin" in result.stderr


def test_a_draft_is_tried_by_cases(shared_mesh: MeshFile, folder: Path, mesh: Mesh) -> None:
    (folder / "good.yaml").write_text(CASES.replace("{expect}", "allow"))
    (folder / "bad.yaml").write_text(CASES.replace("{expect}", "deny"))

    good = command(shared_mesh, folder, "test", "good.yaml")
    bad = command(shared_mesh, folder, "test", "bad.yaml")
    unread = command(shared_mesh, folder, "test", "draft.cedar")

    assert (good.returncode, good.stderr) == (0, "all 4 cases passed\n")
    assert "a visitor asks before it says something" in good.stdout
    assert bad.returncode == 1
    assert [line.split()[1] for line in bad.stdout.splitlines() if line.startswith("FAIL")] == ["3"]
    assert "1 of 4 cases failed" in bad.stderr
    assert (unread.returncode, "holds no cases" in unread.stderr) == (1, True)


async def test_it_is_told_why(shared_mesh: MeshFile, folder: Path, stored: str, mesh: Mesh) -> None:
    # The effect of the function is what its agent has registered.
    denied = command(shared_mesh, folder, "why", "visitor", "call", "tested.pay", "--role", "developer")
    ask = said(shared_mesh, folder, "why", "visitor", "call", "tested.echo", "--role", "developer")
    allowed = command(shared_mesh, folder, "why", "developer", "call", "tested.pay")
    nobody = command(shared_mesh, folder, "why", "visitor", "read")

    version = said(shared_mesh, folder, "get", stored)["version"]
    assert denied.stdout.startswith(f'denied by visitors@{version}#never\n\n// visitors@{version}#never\n@id("never")\nforbid (')
    assert (ask["decision"]["effect"], ask["decision"]["approver"], ask["question"]["effect"]) == ("APPROVAL", "ADMIN", "pure")
    assert allowed.stdout == "allowed: no rule forbids it\n"
    assert nobody.stdout == "denied: it has no role, and needs viewer to read\n"


def test_by_rest_a_policy_is_put_explained_and_deleted(shared_mesh: MeshFile) -> None:
    key = (shared_mesh.folder / shared_mesh.api_key).read_text().strip()
    with httpx.Client(base_url=shared_mesh.rest, headers={"x-api-key": key}, timeout=20) as client:
        put = client.post("/v1/policies", json={"name": "by-rest", "text": RULES, "expectedVersion": 0})
        question = {"principal": "spiffe://parade.local/ns/default/client/visitor", "role": "ROLE_DEVELOPER", "action": "call"}
        why = client.post("/v1/policies:explain", json={"question": {**question, "resource": "tested.echo"}})
        case = {"question": {**question, "resource": "tested.echo"}, "expected": "POLICY_EFFECT_APPROVAL"}
        tried = client.post("/v1/policies:test", json={"cases": [case]})
        names = [one["name"] for one in client.get("/v1/policies").json()["policies"]]
        deleted = client.delete("/v1/policies/by-rest", params={"expectedVersion": put.json()["policy"]["version"]})
        gone = client.get("/v1/policies/by-rest")

    assert put.status_code == 200, put.text
    assert why.json()["decision"]["effect"] == "POLICY_EFFECT_APPROVAL"
    assert tried.json()["passed"] is True
    assert "by-rest" in names
    assert (deleted.status_code, gone.status_code) == (200, 404)
