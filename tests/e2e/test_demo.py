"""The main job, as a user runs it: a real mesh, six agents, a real data set, a report, and nothing left behind."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from parade.wire.mesh_file import MeshFile
from tests.support.commands import until
from tests.support.mesh import ROOT, kill

DEMO = [sys.executable, "-m", "data_processing.demo"]
LIMIT = 120
"""Seconds that the demonstration may take, however busy the machine."""
TABLE = """day,shop,price,sold
2024-01-01,north,1.50,10
2024-01-02,north,,12
2024-01-03,south,2.25,7
2024-01-03,south,2.25,7
2024-01-04,south,3.75,9
"""

pytestmark = pytest.mark.timeout(LIMIT + 30)


def demo(*arguments: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    command = [*DEMO, *arguments, "--output", str(folder)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=LIMIT)


def left_behind(folder: Path) -> list[list[str]]:
    """Processes of ours that speak of this test's folder."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if process.pid != os.getpid() and any(str(folder) in word for word in words):
            found.append(words)
    return found


def reports(folder: Path) -> list[Path]:
    return sorted(folder.glob("*/report.html"))


def test_the_demonstration_leaves_a_report_and_nothing_else(tmp_path: Path) -> None:
    answer = demo(folder=tmp_path)

    assert answer.returncode == 0, answer.stdout + answer.stderr
    (report,) = reports(tmp_path)
    summary = json.loads((report.parent / "summary.json").read_text())
    page = report.read_text()
    assert str(report) in answer.stdout + answer.stderr
    assert "<svg" in page
    assert summary
    assert left_behind(tmp_path) == []


@pytest.mark.full
def test_it_takes_the_users_own_table(tmp_path: Path) -> None:
    table = tmp_path / "sales of shops.csv"
    table.write_text(TABLE)

    answer = demo(str(table), folder=tmp_path / "out")

    assert answer.returncode == 0, answer.stdout + answer.stderr
    (report,) = reports(tmp_path / "out")
    assert "price" in report.read_text()
    assert left_behind(tmp_path) == []


def test_a_table_that_is_not_there_is_said_and_everything_is_stopped(tmp_path: Path) -> None:
    answer = demo(str(tmp_path / "nowhere.csv"), folder=tmp_path / "out")

    assert answer.returncode == 1
    assert "nowhere.csv" in answer.stdout + answer.stderr
    assert "Traceback" not in answer.stdout + answer.stderr
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize("moment", [pytest.param("during the start", marks=pytest.mark.full), "during the run"])
def test_ctrl_c_stops_everything(tmp_path: Path, moment: str) -> None:
    words, out = tmp_path / "words", tmp_path / "out"
    with words.open("wb") as output:
        process = subprocess.Popen([*DEMO, "--output", str(out)], cwd=ROOT, stdout=output, stderr=output, start_new_session=True)
    if moment == "during the start":
        until((out / "demo" / ".parade").exists)
    else:
        until(lambda: b"Run run-" in words.read_bytes())

    os.killpg(process.pid, signal.SIGINT)

    assert process.wait(20) != 0
    assert b"Traceback" not in words.read_bytes()
    assert left_behind(tmp_path) == []


@pytest.mark.full
@pytest.mark.parametrize("service", ["agent_manager", "dispatcher", "scheduler", "gateway", "monitor"])
def test_the_demonstration_ends_right_when_a_service_is_killed(tmp_path: Path, service: str) -> None:
    words = tmp_path / "words"
    with words.open("wb") as output:
        process = subprocess.Popen([*DEMO, "--output", str(tmp_path / "out")], cwd=ROOT, stdout=output, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + LIMIT
        while b"Run run-" not in words.read_bytes():
            assert process.poll() is None, words.read_text()
            assert time.monotonic() < deadline, words.read_text()
            time.sleep(0.02)
        mesh = MeshFile.read(tmp_path / "out" / "demo" / ".parade" / "mesh.json")
        killed = kill(mesh, service)

        status = process.wait(LIMIT)
    finally:
        process.terminate()
        process.wait(20)

    assert killed
    assert status == 0, words.read_text()
    assert reports(tmp_path / "out")
    assert left_behind(tmp_path) == []
