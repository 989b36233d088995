"""`parade schedule` and `parade event` against a whole mesh, each command a process of its own."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from parade.sync import Mesh, connect
from parade.testing import LocalMesh
from parade.v1 import scheduler_pb2
from parade.wire.errors import ParadeError, Reason
from parade.wire.mesh_file import MeshFile
from tests.support.commands import WAITS
from tests.support.commands import parade as run

WORKFLOW = """
name: follow
on:
  schedule: {cron: "0 6 * * 1-5", time-zone: Europe/Berlin}
  event: {type: order.paid, with: {order: "${{ event.order }}"}}
inputs: {order: {type: integer, default: 0}}
steps:
  shipped: {wait: {event: {type: order.shipped, if: event.order == inputs.order}}}
outputs: {by: "${{ steps.shipped.output.by }}"}
"""

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in which a mesh runs and a workflow is stored."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "workflow.yaml").write_text(WORKFLOW)
    with LocalMesh(folder):
        assert run(folder, "workflow", "put", "workflow.yaml").returncode == 0
        yield folder


def of(folder: Path, *arguments: str) -> Any:
    result = run(folder, *arguments, "-o", "json")
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_a_schedule_is_put_shown_paused_resumed_and_deleted(project: Path) -> None:
    put = of(project, "schedule", "put", "hourly", "follow", "--cron", "0 * * * *", "--catch-up", "all", "order=7")
    assert (put["name"], put["catchUp"], put["inputs"], put["timeZone"]) == ("hourly", "ALL", {"order": 7}, "UTC")

    shown = run(project, "schedule", "show", "hourly")
    assert all(word in shown.stdout for word in ("hourly", "follow", "0 * * * * (UTC)", '"order": 7', "never"))
    assert of(project, "schedule", "pause", "hourly")["paused"] is True
    assert "paused" in run(project, "schedule", "list").stdout
    resumed = of(project, "schedule", "resume", "hourly")
    assert resumed["paused"] is False
    assert resumed["nextTime"].endswith(":00:00Z")
    deleted = run(project, "schedule", "delete", "hourly")
    assert (deleted.returncode, deleted.stdout) == (0, "")
    assert "hourly" in deleted.stderr
    assert [schedule["name"] for schedule in of(project, "schedule", "list")] == ["follow.1"]


def test_the_schedule_of_a_definition_is_listed_and_stays(project: Path) -> None:
    [schedule] = of(project, "schedule", "list", "--workflow", "follow")
    assert (schedule["name"], schedule["defined"], schedule["timeZone"]) == ("follow.1", True, "Europe/Berlin")
    assert of(project, "schedule", "list", "--workflow", "other") == []

    result = run(project, "schedule", "delete", "follow.1")

    assert result.returncode == 1
    assert "[FAILED_PRECONDITION]" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("put", "x", "follow", "--cron", "61 * * * *"), 1, "[INVALID_ARGUMENTS]"),
        (("put", "x", "follow", "--cron", "0 * * * *", "--time-zone", "Atlantis"), 1, "Atlantis"),
        (("put", "x", "nothing", "--cron", "0 * * * *"), 1, "[NOT_FOUND]"),
        (("put", "x", "follow", "--cron", "0 * * * *", "order=many"), 1, "order"),
        (("put", "x", "follow"), 2, "--cron"),
        (("show", "nothing"), 1, "[NOT_FOUND]"),
        (("pause", "nothing"), 1, "[NOT_FOUND]"),
    ],
)
def test_what_cannot_be_is_refused(project: Path, arguments: tuple[str, ...], code: int, words: str) -> None:
    result = run(project, "schedule", *arguments)

    assert (result.returncode, result.stdout) == (code, "")
    assert words in result.stderr
    assert "Traceback" not in result.stderr


def test_an_event_starts_a_run_and_another_ends_it(project: Path) -> None:
    published = run(project, "event", "publish", "order.paid", "order=12", "--id", "payment-1")
    assert (published.returncode, published.stdout) == (0, "payment-1\n")

    with connect(MeshFile.read(project / ".parade" / "mesh.json")) as mesh:
        [started] = waiting(mesh)
        assert started.labels == {"event": "payment-1"}
        mesh.publish_event("order.shipped", {"order": 12, "by": "sea"})
        assert mesh.run(started.id).result(timeout=WAITS) == {"by": "sea"}
        assert mesh.publish_event("order.paid", {"order": 12}, event_id="payment-1") == "payment-1"
        assert len(mesh.runs(workflow="follow")) == 1
        with pytest.raises(ParadeError) as caught:
            mesh.publish_event("no type", 1)
    assert caught.value.reason is Reason.INVALID_ARGUMENTS


def waiting(mesh: Mesh) -> list[scheduler_pb2.Run]:
    """Returns the runs there are, once the newest waits."""
    deadline = time.monotonic() + WAITS
    while True:
        runs = mesh.runs(workflow="follow")
        if runs and mesh.run(runs[0].id).get().steps[0].state == scheduler_pb2.STEP_STATE_RUNNING:
            return runs
        assert time.monotonic() < deadline, "no run waits"
        time.sleep(0.1)
