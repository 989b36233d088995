import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from parade.cli.certificate_checks import certificate_finding
from parade.cli.finding import Finding, asked
from parade.cli.machine_checks import machine_findings
from parade.wire.errors import ParadeError, Reason
from parade.wire.identity import Identity
from parade.wire.mesh_file import MeshFile
from tests.support.certificates import Authority
from tests.unit.cli.conftest import Parade

CLIENT = Identity.client("developer")


@pytest.fixture
def mesh_file(tmp_path: Path) -> MeshFile:
    files = Authority(tmp_path).files(CLIENT)
    return MeshFile(tmp_path, trust_bundle=files.trust_bundle.name, certificate=files.certificate.name, private_key=files.private_key.name)


def test_this_machine_runs_a_python_that_is_new_enough(tmp_path: Path) -> None:
    findings = {finding.check: finding for finding in machine_findings(tmp_path)}

    assert list(findings) == ["python", "disk", "secrets", "open files"]
    assert findings["python"].ok
    assert all(finding.advice for finding in findings.values())


@pytest.mark.parametrize(("top", "file", "open_to"), [(0o755, 0o644, "secrets/default/KEY"), (0o755, 0o600, ""), (0o700, 0o644, "")])
def test_secrets_that_others_can_read_are_found(tmp_path: Path, top: int, file: int, open_to: str) -> None:
    secret = tmp_path / "secrets" / "default" / "KEY"
    secret.parent.mkdir(parents=True)
    secret.write_text("s3cr3t")
    for path, mode in ((secret.parent, 0o755), (secret.parent.parent, 0o755), (tmp_path, top), (secret, file)):
        path.chmod(mode)

    [finding] = [finding for finding in machine_findings(tmp_path) if finding.check == "secrets"]

    assert finding.ok == (not open_to)
    assert open_to in finding.detail


def test_good_certificates_are_good(mesh_file: MeshFile) -> None:
    assert certificate_finding(mesh_file).ok


@pytest.mark.parametrize(("ahead", "fault"), [(timedelta(hours=13), "expired"), (timedelta(days=-2), "is the clock right")])
def test_certificates_of_another_time_are_not(mesh_file: MeshFile, ahead: timedelta, fault: str) -> None:
    finding = certificate_finding(mesh_file, datetime.now(UTC) + ahead)

    assert not finding.ok
    assert fault in finding.detail


def test_a_certificate_of_another_root_is_not_good(mesh_file: MeshFile, tmp_path: Path) -> None:
    other, _ = Authority(tmp_path / "other").root_files()

    finding = certificate_finding(replace(mesh_file, trust_bundle=str(other)))

    assert not finding.ok
    assert "not signed by the root" in finding.detail


def test_a_key_of_another_certificate_is_not_good(mesh_file: MeshFile, tmp_path: Path) -> None:
    other = Authority(tmp_path / "other").files(CLIENT)

    finding = certificate_finding(replace(mesh_file, private_key=str(other.private_key)))

    assert not finding.ok
    assert "private key does not belong" in finding.detail


def test_certificates_that_are_not_there_or_not_readable_are_not_good(mesh_file: MeshFile, tmp_path: Path) -> None:
    (tmp_path / "nonsense.pem").write_text("nonsense")

    missing = certificate_finding(replace(mesh_file, certificate="nowhere.pem"))
    nonsense = certificate_finding(replace(mesh_file, certificate="nonsense.pem"))

    assert (missing.ok, nonsense.ok) == (False, False)


async def test_that_there_is_no_answer_is_a_finding() -> None:
    async def refused() -> Finding:
        raise ParadeError(Reason.UNAVAILABLE, "monitor cannot be reached")

    assert await asked("monitor", refused, "Start it.") == Finding(
        "monitor", ok=False, detail="monitor cannot be reached", advice="Start it."
    )


def test_without_a_mesh_the_machine_is_examined_and_the_exit_code_is_1(parade: Parade) -> None:
    result = parade("doctor", "-o", "json")

    findings = json.loads(result.stdout)
    assert result.exit_code == 1
    assert {finding["check"]: finding["ok"] for finding in findings}["mesh file"] is False
    assert all(bool(finding["advice"]) is not finding["ok"] for finding in findings)


def test_services_that_do_not_run_are_findings_with_advice(parade: Parade, mesh_file: MeshFile) -> None:
    dead = replace(
        mesh_file,
        services=dict.fromkeys(("monitor", "agent_manager", "dispatcher", "scheduler"), "127.0.0.1:1"),
        rest="http://127.0.0.1:1",
    )
    (mesh_file.folder / mesh_file.api_key).write_text("pk_key")
    dead.write()

    result = parade("--mesh", str(dead.path), "doctor", "-o", "json")

    wrong = {finding["check"]: finding["advice"] for finding in json.loads(result.stdout) if not finding["ok"]}
    assert result.exit_code == 1
    assert wrong.keys() >= {"monitor", "agent_manager", "dispatcher", "scheduler", "rest", "telemetry", "agents", "functions"}
    assert all(wrong.values())
