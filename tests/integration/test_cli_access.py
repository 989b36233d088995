"""Keys and roles from the command line."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from parade.testing import LocalMesh
from parade.wire.identity import Identity
from parade.wire.mesh_file import FILE_NAME, STATE_FOLDER, MeshFile
from tests.integration.test_access import MeshAuthority
from tests.support.commands import parade

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in which a mesh runs."""
    folder = tmp_path_factory.mktemp("project")
    with LocalMesh(folder):
        yield folder


def said(folder: Path, *arguments: str) -> Any:
    result = parade(folder, *arguments, "-o", "json")
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def mesh_of(folder: Path) -> MeshFile:
    return MeshFile.read(folder / STATE_FOLDER / FILE_NAME)


def test_a_key_is_made_used_listed_and_revoked(project: Path) -> None:
    made = parade(project, "key", "create", "nightly import", "--role", "viewer", "--expires", "30d")
    key = made.stdout.strip()
    rest = mesh_of(project).rest

    opened = httpx.get(f"{rest}/v1/agents", headers={"x-api-key": key}, timeout=20)
    refused = httpx.post(f"{rest}/v1/agents/x:pause", headers={"x-api-key": key}, json={}, timeout=20)
    listed = {one["id"]: one for one in said(project, "key", "list")}
    revoked = parade(project, "key", "revoke", key[7:17])
    state = next(line for line in parade(project, "key", "list").stdout.splitlines() if key[7:17] in line)
    again = parade(project, "key", "revoke", "0000000000")

    assert made.returncode == 0
    assert "not shown again" in made.stderr
    assert (opened.status_code, refused.status_code) == (200, 403)
    assert (listed[key[7:17]]["name"], listed[key[7:17]]["role"]) == ("nightly import", "VIEWER")
    assert key[18:] not in json.dumps(listed)
    assert (revoked.returncode, "revoked" in state) == (0, True)
    assert again.returncode == 1
    assert "NOT_FOUND" in again.stderr


def test_a_role_is_granted_listed_and_taken_away(project: Path) -> None:
    subject = "spiffe://parade.local/ns/default/client/reporting"

    granted = said(project, "role", "grant", "reporting", "viewer")
    listed = {one["subject"]: one["role"] for one in said(project, "role", "list")}
    taken = parade(project, "role", "revoke", "reporting")
    again = parade(project, "role", "revoke", subject)

    assert (granted["subject"], granted["namespace"]) == (subject, "default")
    assert (listed[subject], listed["spiffe://parade.local/ns/default/client/developer"]) == ("VIEWER", "ADMIN")
    assert (taken.returncode, again.returncode) == (0, 1)


def test_who_has_too_little_is_told_what_is_missing_and_who_can_help(project: Path, tmp_path: Path) -> None:
    mesh = mesh_of(project)
    client = Identity.client("guest")
    files = MeshAuthority(mesh).files(client)
    content = json.loads(mesh.path.read_text())
    content |= {"trust_bundle": str(files.trust_bundle), "certificate": str(files.certificate), "private_key": str(files.private_key)}
    guest = tmp_path / "guest.json"
    guest.write_text(json.dumps(content))

    result = parade(project, "--mesh", str(guest), "agent", "list")

    assert result.returncode == 1
    assert f"{client.uri} has no role in namespace default, and needs viewer to call ListAgents" in result.stderr
    assert f"`parade role grant {client.uri} viewer`" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (("key", "create", "x", "--expires", "soon"), "30m, 12h or 90d"),
        (("key", "create", "x", "--role", "root"), "root"),
        (("role", "grant", "bob", "root"), "root"),
        (("key", "create"), "NAME"),
    ],
)
def test_what_is_not_understood_ends_with_2(project: Path, arguments: tuple[str, ...], fault: str) -> None:
    result = parade(project, *arguments)

    assert result.returncode == 2
    assert fault in result.stderr


@pytest.mark.parametrize(
    "arguments", [("key", "create", "x", "--expires", "367d"), ("role", "grant", "spiffe://elsewhere/ns/default/client/x", "viewer")]
)
def test_what_cannot_be_ends_with_1(project: Path, arguments: tuple[str, ...]) -> None:
    result = parade(project, *arguments)

    assert result.returncode == 1
    assert "INVALID_ARGUMENTS" in result.stderr


@pytest.mark.parametrize(
    "command", [("key",), ("key", "create"), ("key", "list"), ("key", "revoke"), ("role", "grant"), ("role", "revoke")]
)
def test_help_shows_an_example(project: Path, command: tuple[str, ...]) -> None:
    result = parade(project, *command, "--help")

    assert result.returncode == 0
    assert len(command) == 1 or f"parade {' '.join(command)}" in result.stdout
