"""REST by its own OpenAPI document: schemathesis makes requests that fit it, and such that just do not, as admin, viewer and nobody."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from benchmarks.rivals.program import installed
from parade.testing import LocalMesh
from parade.wire.mesh_file import MeshFile
from parade.wire.roles import Role
from tests.integration.test_role_table import NEEDED
from tests.support.mesh import ROOT, agent_process

PACKAGES = ("schemathesis==4.32.*",)
ENVIRONMENT = ROOT / ".tools" / "schemathesis"
"""Of its own: what it demands of other packages, and the pytest plugin that it brings, are not ours to bear."""
CHECKS = ROOT / "tests" / "support" / "hostile" / "schemathesis_checks.py"
ENDLESS = r":(watch|tail|stream)$"
"""Streams, which it would read to an end that they do not have."""
DEMANDED = {"admin": "no_fault_of_ours", "viewer": "no_fault_of_ours,no_more_than_a_viewer"}
"""What is demanded of the answers to who shows a key."""
SMALL, LARGE = 8, 100
"""Requests for each operation that are made by chance; those that are made by rule come to some 40 more."""

WHO = ["nobody", "viewer", "admin"]
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def schemathesis() -> Path:
    try:
        return installed(ENVIRONMENT, PACKAGES) / "bin" / "schemathesis"
    except (OSError, subprocess.SubprocessError) as error:
        pytest.skip(f"schemathesis cannot be installed here: {error}")


@pytest.fixture(scope="module")
def fuzzed_mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MeshFile]:
    """A mesh that may be paused, drained and filled by whoever has its key."""
    with LocalMesh(tmp_path_factory.mktemp("fuzzed")) as mesh, agent_process(mesh):
        yield mesh


@pytest.mark.parametrize(
    ("who", "large"),
    [
        pytest.param("viewer", False, id="viewer-small"),
        *(pytest.param(who, True, id=f"{who}-large", marks=[pytest.mark.full, pytest.mark.timeout(1200)]) for who in WHO),
    ],
)
def test_rest_withstands_what_its_document_allows_and_what_it_forbids(
    schemathesis: Path, fuzzed_mesh: MeshFile, tmp_path: Path, who: str, *, large: bool
) -> None:
    document = tmp_path / "openapi.json"
    document.write_text(httpx.get(f"{fuzzed_mesh.rest}/openapi.json").text)
    shown = ["--header", f"Authorization: Bearer {_key(fuzzed_mesh, who)}"] if who in DEMANDED else []
    told = {
        "--url": fuzzed_mesh.rest,
        "--checks": DEMANDED.get(who, "nobody_enters"),
        "--phases": "examples,coverage,fuzzing" if large else "examples,fuzzing",
        "--max-examples": str(LARGE if large else SMALL),
        "--seed": "1",
        "--exclude-path-regex": ENDLESS,
        "--request-timeout": "20",
        "--generation-database": "none",
        "--generation-with-security-parameters": "false",  # it would invent keys
        "--warnings": "off",
    }
    command = [str(schemathesis), "run", str(document), *shown, *(word for pair in told.items() for word in pair)]
    command += ["--no-shrink", "--continue-on-failure", "--no-color"]
    environment = {
        "PATH": str(schemathesis.parent),
        "SCHEMATHESIS_HOOKS": str(CHECKS),
        "VIEWERS_OPERATIONS": "\n".join(_operations_of_viewers(document)),
    }

    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=1100, check=False)

    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert _cases(done.stdout) >= (5000 if large else 300), done.stdout[-2000:]


def _key(mesh: MeshFile, who: str) -> str:
    key = (mesh.folder / mesh.api_key).read_text().strip()
    if who == "admin":
        return key
    made = httpx.post(f"{mesh.rest}/v1/keys", json={"name": "fuzz", "role": "ROLE_VIEWER"}, headers={"x-api-key": key})
    secret: str = made.json()["secret"]
    return secret


def _operations_of_viewers(document: Path) -> list[str]:
    """Returns the operations that the table of roles opens to viewers, each as `VERB path`."""
    return [
        f"{verb.upper()} {path}"
        for path, operations in json.loads(document.read_text())["paths"].items()
        for verb, operation in operations.items()
        if "operationId" in operation and NEEDED[operation["operationId"].replace("_", ".")] <= Role.VIEWER
    ]


def _cases(report: str) -> int:
    """Returns how many requests a report says were made."""
    found = re.search(r"([\d,]+) generated", report)
    return int(found.group(1).replace(",", "")) if found else 0
