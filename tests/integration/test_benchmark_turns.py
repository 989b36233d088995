"""What the benchmarks wait for before they measure."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from benchmarks import turns

BUSY_THEN_IDLE = """
import pathlib, sys, time
while time.process_time() < float(sys.argv[1]): pass
pathlib.Path(sys.argv[2]).touch()
time.sleep(60)
"""


@contextmanager
def busy_for(seconds: float, done: Path) -> Iterator[psutil.Process]:
    process = subprocess.Popen([sys.executable, "-c", BUSY_THEN_IDLE, str(seconds), str(done)])
    try:
        yield psutil.Process(process.pid)
    finally:
        process.kill()
        process.wait()


def test_what_was_just_started_is_waited_for_until_it_does_next_to_nothing(tmp_path: Path) -> None:
    with busy_for(1.5, tmp_path / "done") as process:
        turns.rest([process])

        assert (tmp_path / "done").exists()


def test_what_never_comes_to_rest_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "REST_TIMEOUT", 0.5)
    with busy_for(60, tmp_path / "done") as process, pytest.raises(TimeoutError, match="rest"):
        turns.rest([process])
