"""The order example: its one command, and its page as it stands there."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from parade.testing import LocalMesh
from tests.support.commands import PARADE, blocks, parade, run, until
from tests.support.mesh import ROOT

EXAMPLE = ROOT / "examples/order"
DEMO = [sys.executable, str(EXAMPLE / "demo.py")]

pytestmark = pytest.mark.timeout(120)


def told(output: str, story: str) -> dict[str, str]:
    """Returns what was said of each step of an order."""
    _, _, rest = output.partition(f"{story}\n")
    lines = rest.partition("\n\n")[0].splitlines()
    return dict(line.split(maxsplit=1) for line in lines)


def test_what_was_done_is_taken_back_where_a_later_step_fails(tmp_path: Path) -> None:
    answer = run(tmp_path, *DEMO)

    assert answer.returncode == 0, answer.stdout + answer.stderr
    sold = told(answer.stdout, "A kettle is sold.")
    assert sold["approve"] == "its `if` is false"
    assert "'by': 'Ada'" in sold["deliver"]
    assert not any(step.endswith(".compensate") for step in sold)
    undelivered = told(answer.stdout, "A piano is approved and paid, and nobody takes it in.")
    assert undelivered["deliver"].endswith("nobody in Oslo has taken the parcel in")
    assert list(undelivered)[-3:-1] == ["pay.compensate", "reserve.compensate"]
    rejected = told(answer.stdout, "900 chairs are not approved.")
    assert rejected["approve"].startswith("rejected by spiffe://")
    assert rejected["pay"] == "its `if` is false"
    assert "reserve.compensate" in rejected
    assert "pay.compensate" not in rejected
    assert answer.stdout.splitlines()[-1] == "On the shelf: 9 × kettle, 2 × piano, 900 × chair. In the account: 39.90 €."


def test_ctrl_c_stops_the_demonstration(tmp_path: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        DEMO, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as demo:
        assert demo.stdout is not None
        assert demo.stdout.readline() == "A kettle is sold.\n"

        demo.send_signal(signal.SIGINT)

        _, said = demo.communicate(timeout=30)
    assert demo.returncode == 130
    assert "Traceback" not in said
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Path]:
    """A copy of the example, in which a mesh runs and the agents are served."""
    folder = Path(shutil.copytree(EXAMPLE, tmp_path / "order", ignore=shutil.ignore_patterns("__pycache__", ".parade")))
    with LocalMesh(folder), ExitStack() as stack:
        for agent in ("stock", "bank", "courier"):
            serving = stack.enter_context(subprocess.Popen([PARADE, "agent", "serve", f"agents:{agent}"], cwd=folder))
            stack.callback(serving.wait, 15)
            stack.callback(serving.terminate)
        until(lambda: parade(folder, "ps").stdout.count("agent ") >= 3)
        yield folder


def test_the_commands_do_what_the_page_says(shop: Path) -> None:
    _, _, by_hand = blocks((EXAMPLE / "README.md").read_text(), "sh")

    answer = run(shop, "bash", "-ec", by_hand)

    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert '"by": "Ada"' in answer.stdout
