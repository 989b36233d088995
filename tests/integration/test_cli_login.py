"""People log in from the command line, at a real issuer, and reach the mesh by REST."""

import base64
import json
import os
import re
import stat
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from parade.testing import LocalMesh
from parade.wire.mesh_file import MeshFile
from tests.support import oidc_provider
from tests.support.commands import PARADE, TIMEOUT, run
from tests.support.lying_issuer import unsigned
from tests.support.oidc_provider import AUDIENCE, CLIENT_ID, Issuer

pytestmark = pytest.mark.timeout(400)  # the first test that needs the issuer installs it


@dataclass(frozen=True)
class Place:
    """Where a mesh runs whose people log in."""

    folder: Path
    issuer: Issuer
    mesh: MeshFile

    def parade(self, home: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return run(self.folder, "parade", *arguments, XDG_CONFIG_HOME=str(home))

    def agents(self, token: str, **headers: str) -> httpx.Response:
        return httpx.get(f"{self.mesh.rest}/v1/agents", headers={"authorization": f"Bearer {token}", **headers}, timeout=20)

    @contextmanager
    def logging_in(self, home: Path, *options: str) -> "Iterator[tuple[str, subprocess.Popen[str]]]":
        """Begins to log in, and gives the page that the person is to open."""
        environment = {**os.environ, "XDG_CONFIG_HOME": str(home), "NO_COLOR": "1"}
        pipes: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        command = [str(PARADE), "login", "--no-browser", *options]
        with subprocess.Popen(command, cwd=self.folder, env=environment, **pipes) as process:
            try:
                assert process.stderr is not None
                line = process.stderr.readline()
                page = re.search(r"Open (\S+)", line)
                assert page is not None, line + process.stderr.read()
                yield page[1], process
            finally:
                process.kill()

    def log_in(self, home: Path, person: str, *options: str) -> None:
        with self.logging_in(home, *options) as (page, process):
            self.issuer.sign_in(page, person)
            _, said = process.communicate(timeout=TIMEOUT)
            assert process.returncode == 0, said


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("login")
    with pytest.MonkeyPatch.context() as patch:
        try:
            issuing = oidc_provider.running()
            issuer = issuing.__enter__()
        except (OSError, subprocess.SubprocessError) as error:
            pytest.skip(f"the issuer cannot be installed here: {error}")
        try:
            told = {"ISSUER": issuer.url, "AUDIENCE": AUDIENCE, "CLIENT_ID": CLIENT_ID}
            for name, value in told.items():
                patch.setenv(f"PARADE_GATEWAY_OIDC_{name}", value)
            with LocalMesh(folder) as mesh:
                patch.undo()  # other meshes of these tests are not told
                yield Place(folder, issuer, mesh)
        finally:
            issuing.__exit__(None, None, None)


def kept(home: Path) -> Path:
    return home / "parade" / "login.json"


def test_a_person_logs_in_is_let_in_and_logs_out(place: Place, tmp_path: Path) -> None:
    place.log_in(tmp_path, "ann")
    subject = f"oidc:{place.issuer.url}#ann"
    token = place.parade(tmp_path, "token").stdout.strip()
    unknown = place.parade(tmp_path, "whoami")
    barred = place.agents(token)

    granted = place.parade(tmp_path, "role", "grant", subject, "viewer")
    known = json.loads(place.parade(tmp_path, "whoami", "-o", "json").stdout)
    elsewhere = place.parade(tmp_path, "whoami", "--namespace", "research")
    read = place.agents(token)
    foreign = place.agents(token, **{"x-parade-namespace": "research"})
    refresh_token = json.loads(kept(tmp_path).read_text())["refresh_token"]
    mode = stat.S_IMODE(kept(tmp_path).stat().st_mode)
    out = place.parade(tmp_path, "logout")
    after = place.parade(tmp_path, "token")
    again = httpx.post(
        f"{place.issuer.url}/token", data={"grant_type": "refresh_token", "refresh_token": refresh_token, "client_id": CLIENT_ID}
    )

    assert unknown.returncode == 1
    assert f"`parade role grant '{subject}' viewer`" in unknown.stderr
    assert granted.returncode == 0, granted.stderr
    assert known == {"subject": subject, "namespace": "default", "role": "viewer"}
    assert (elsewhere.returncode, "namespace research" in elsewhere.stderr) == (1, True)
    assert (barred.status_code, read.status_code, foreign.status_code) == (403, 200, 403)
    assert mode == 0o600
    assert refresh_token
    assert (out.returncode, after.returncode) == (0, 2)
    assert "nobody is logged in" in after.stderr
    assert not kept(tmp_path).exists()
    assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")


@pytest.mark.full
def test_a_person_logs_in_by_a_browser_elsewhere(place: Place, tmp_path: Path) -> None:
    place.log_in(tmp_path, "bob", "--device")
    granted = place.parade(tmp_path, "role", "grant", f"oidc:{place.issuer.url}#bob", "viewer")
    token = place.parade(tmp_path, "token").stdout.strip()

    assert granted.returncode == 0
    assert place.agents(token).status_code == 200


@pytest.mark.full
def test_a_token_that_ends_is_renewed(place: Place, tmp_path: Path) -> None:
    place.log_in(tmp_path, "ann")
    content = json.loads(kept(tmp_path).read_text())
    old = unsigned({"exp": time.time() + 30})
    kept(tmp_path).write_text(json.dumps(content | {"token": old}))

    renewed = place.parade(tmp_path, "token").stdout.strip()
    same = place.parade(tmp_path, "token").stdout.strip()

    assert renewed not in (old, "")
    assert same == renewed
    claims = json.loads(base64.urlsafe_b64decode(renewed.split(".")[1] + "=="))
    assert (claims["sub"], claims["aud"]) == ("ann", AUDIENCE)


@pytest.mark.full
def test_a_login_that_the_issuer_has_forgotten_ends(place: Place, tmp_path: Path) -> None:
    place.log_in(tmp_path, "ann")
    content = json.loads(kept(tmp_path).read_text())
    kept(tmp_path).write_text(json.dumps(content | {"token": unsigned({"exp": 0}), "refresh_token": "forgotten"}))

    result = place.parade(tmp_path, "token")

    assert (result.returncode, result.stdout) == (2, "")
    assert "Log in again: `parade login`" in result.stderr


@pytest.mark.full
def test_who_refuses_is_not_logged_in(place: Place, tmp_path: Path) -> None:
    with place.logging_in(tmp_path) as (page, process):
        place.issuer.sign_in(page, "ann", refuse=True)
        _, said = process.communicate(timeout=TIMEOUT)

    assert process.returncode == 2
    assert "the issuer has refused" in said
    assert not kept(tmp_path).exists()


def test_who_has_not_logged_in_is_known_by_the_certificate(place: Place, tmp_path: Path) -> None:
    said = json.loads(place.parade(tmp_path, "whoami", "-o", "json").stdout)

    assert said == {"subject": "spiffe://parade.local/ns/default/client/developer", "namespace": "default", "role": "admin"}


def test_a_file_that_is_none_is_no_login(place: Place, tmp_path: Path) -> None:
    kept(tmp_path).parent.mkdir()
    kept(tmp_path).write_text("{")

    result = place.parade(tmp_path, "token")
    out = place.parade(tmp_path, "logout")

    assert (result.returncode, out.returncode) == (2, 0)
    assert "log in again" in result.stderr
    assert not kept(tmp_path).exists()


def test_a_gateway_where_nobody_logs_in_says_so(place: Place, tmp_path: Path, shared_mesh: MeshFile) -> None:
    result = place.parade(tmp_path, "login", "--no-browser", "--gateway", shared_mesh.rest)

    assert result.returncode == 1
    assert "PARADE_GATEWAY_OIDC_CLIENT_ID" in result.stderr


@pytest.mark.parametrize("command", ["login", "logout", "token", "whoami"])
def test_help_shows_an_example(tmp_path: Path, command: str) -> None:
    result = run(tmp_path, "parade", command, "--help")

    assert result.returncode == 0
    assert f"parade {command}" in result.stdout.partition("For example:")[2]
