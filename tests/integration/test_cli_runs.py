"""What the command line does with runs, against a whole mesh without agents: each command a process of its own."""

import json
import os
import pty
import select
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import parade
from parade.sync import connect
from parade.testing import LocalMesh
from tests.support.commands import PARADE, WAITS, until
from tests.support.commands import parade as run

WAITING = """
name: waiting
inputs:
  sum: {type: integer, default: 5}
steps:
  go: {wait: {signal: go}}
  pay: {wait: {approval: {message: "pay ${{ inputs.sum }} €?"}}, needs: go}
outputs:
  go: ${{ steps.go.output }}
  pay: ${{ steps.pay.output }}
"""

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in which a mesh runs and a workflow is stored."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "waiting.yaml").write_text(WAITING)
    with LocalMesh(folder):
        assert run(folder, "workflow", "put", "waiting.yaml").returncode == 0
        yield folder


def done(folder: Path, *arguments: str) -> str:
    result = run(folder, *arguments)
    assert result.returncode == 0, result.stderr
    return result.stdout


def started(folder: Path, *arguments: str) -> str:
    return done(folder, "run", "waiting", "--detach", *arguments).strip()


def shown(folder: Path, run_id: str) -> Any:
    return json.loads(done(folder, "run", "show", run_id, "-o", "json"))


def test_a_run_is_paused_resumed_signalled_and_approved(project: Path) -> None:
    run_id = started(project, "--priority", "7")

    assert f"run {run_id} is paused" in run(project, "run", "pause", run_id, "--reason", "look first").stderr
    assert shown(project, run_id)["state"] == "PAUSED"
    assert run(project, "run", "resume", run_id).returncode == 0
    assert run(project, "run", "signal", run_id, "go", '{"parcels": 2}').returncode == 0
    until(lambda: run_id in done(project, "approve"))
    [approval] = [one for one in json.loads(done(project, "approve", "-o", "json")) if one["runId"] == run_id]
    assert (approval["step"], approval["message"], approval["state"]) == ("pay", "pay 5 €?", "PENDING")
    assert run(project, "approve", run_id, "--note", "for once").returncode == 0

    watched = run(project, "run", "watch", run_id)
    assert watched.returncode == 0
    assert json.loads(watched.stdout)["go"] == {"parcels": 2}
    assert json.loads(watched.stdout)["pay"]["note"] == "for once"
    assert "signal go received from spiffe://" in watched.stderr
    assert shown(project, run_id)["priority"] == 7
    assert "for once" in done(project, "run", "watch", run_id, "-o", "json")


def test_a_start_is_named_and_takes_the_version_that_is_asked_for(project: Path) -> None:
    run_id = started(project, "--request-id", "only-once", "--version", "1")

    assert started(project, "--request-id", "only-once") == run_id
    assert shown(project, run_id)["workflowVersion"] == 1
    unknown = run(project, "run", "waiting", "--detach", "--version", "99")
    assert unknown.returncode != 0
    assert "99" in unknown.stderr
    refused = run(project, "run", "waiting.yaml", "--detach", "--version", "1")
    assert refused.returncode == 2
    assert "--version" in refused.stderr


def test_a_rejected_run_fails_and_is_repeated_from_a_step_on(project: Path) -> None:
    run_id = started(project)
    done(project, "run", "signal", run_id, "go", "now")
    done(project, "run", "reject", run_id, "pay", "--note", "too much")
    assert run(project, "run", "watch", run_id).returncode == 1
    assert run(project, "approve", run_id).returncode == 1

    again = done(project, "run", "rerun", run_id, "sum=3", "--from", "pay", "--detach").strip()
    assert shown(project, again)["originRunId"] == run_id
    until(lambda: "pay 3 €?" in done(project, "approve"))
    assert run(project, "run", "approve", again, "pay").returncode == 0
    result = run(project, "run", "watch", again)
    assert json.loads(result.stdout)["go"] == "now"


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (("run", "cancel", "RUN", "--dry-run"), "--dry-run"),
        (("run", "rerun", "RUN", "--yes"), "--yes"),
        (("run", "cancel", "--label", "a=b", "--wait", "1s", "--yes"), "--wait"),
        (("run", "rerun", "--label", "a=b", "--from", "pay", "--yes"), "--from"),
        (("run", "rerun", "--label", "a=b", "--version", "2", "--yes"), "--version"),
        (("run", "rerun", "--label", "a=b", "--detach", "--yes"), "--detach"),
        (("run", "rerun", "--label", "a=b", "--json", '{"sum": 1}', "--yes"), "--json"),
        (("approve", "--reject"), "--reject"),
        (("approve", "--note", "yes"), "--note"),
        (("approve", "RUN", "--mine"), "--mine"),
        (("approve", "RUN", "--state", "pending"), "--state"),
    ],
    ids=" ".join,
)
def test_an_option_that_has_no_meaning_there_is_refused_and_nothing_is_done(project: Path, arguments: tuple[str, ...], option: str) -> None:
    run_id = started(project)

    refused = run(project, *(run_id if word == "RUN" else word for word in arguments))

    assert (refused.returncode, option in refused.stderr) == (2, True)
    assert shown(project, run_id)["state"] == "RUNNING"
    done(project, "run", "cancel", run_id)


def test_of_several_approvals_one_is_named_by_its_task(project: Path) -> None:
    (project / "several.yaml").write_text("name: several\nsteps: {ask: {for-each: [1, 2], wait: {approval: {message: well?}}}}\n")
    done(project, "workflow", "put", "several.yaml")
    run_id = done(project, "run", "several", "--detach").strip()
    until(lambda: done(project, "approve", "--workflow", "several").count(run_id) == 2)

    unclear = run(project, "approve", run_id)
    first = run(project, "approve", run_id, "ask", "--task", "1")
    second = run(project, "approve", run_id)

    assert (unclear.returncode, "ask, ask[1]; say which" in unclear.stderr) == (1, True)
    assert (first.returncode, second.returncode) == (0, 0)
    assert run(project, "run", "watch", run_id).returncode == 0


def test_what_cannot_be_approved_says_why(project: Path) -> None:
    run_id = started(project)

    nowhere, nothing = run(project, "approve", "run-nowhere"), run(project, "approve", run_id)

    assert (nowhere.returncode, "does not exist" in nowhere.stderr, "NOT_FOUND" in nowhere.stderr) == (1, True, True)
    assert (nothing.returncode, f"no step of run {run_id} waits for approval" in nothing.stderr) == (1, True)
    done(project, "run", "cancel", run_id)


def test_a_cancelled_run_that_could_not_be_undone_says_so(project: Path) -> None:
    (project / "undo.yaml").write_text("name: undo\nsteps: {never: {wait: {signal: never}, timeout: 10ms}}\n")
    (project / "undone.yaml").write_text(
        "name: undone\nsteps:\n  book: {wait: {timer: 1ms}, compensate: {run: undo}}\n  go: {wait: {signal: go}, needs: book}\n"
    )
    for file in ("undo.yaml", "undone.yaml"):
        done(project, "workflow", "put", file)
    run_id = done(project, "run", "undone", "--detach").strip()
    until(lambda: [step["state"] for step in shown(project, run_id)["steps"]] == ["SUCCEEDED", "RUNNING"])

    cancelled = run(project, "run", "cancel", run_id, "--wait", "30s")

    assert cancelled.returncode == 1
    assert "is cancelled" not in cancelled.stderr
    assert "book" in cancelled.stderr
    assert shown(project, run_id)["state"] == "FAILED"


def test_a_run_branches_off_after_an_event(project: Path) -> None:
    run_id = started(project)
    done(project, "run", "signal", run_id, "go", "now")
    done(project, "run", "cancel", run_id, "--wait", "10s")
    events = [json.loads(line) for line in run(project, "run", "watch", run_id, "-o", "json").stdout.splitlines()]
    [taken] = [event for event in events if event["type"] == "STEP_SUCCEEDED"]

    branch = done(project, "run", "fork", run_id, "sum=8", "--after", str(taken["sequence"])).strip()

    until(lambda: "pay 8 €?" in done(project, "approve"))
    assert done(project, "run", "show", branch).count(run_id) == 1
    assert run(project, "run", "fork", run_id, "--after", "999").returncode == 1


def test_many_runs_are_cancelled_after_they_were_shown(project: Path) -> None:
    runs = {started(project, "sum=42", "--label", "team=many") for _ in range(3)}

    found = json.loads(done(project, "run", "list", "--input", "sum=42", "--label", "team=many", "--since", "1h", "-o", "json"))
    assert {one["id"] for one in found} == runs
    told = json.loads(done(project, "run", "cancel", "--label", "team=many", "--dry-run", "-o", "json"))
    assert {outcome["runId"] for outcome in told} == runs
    refused = run(project, "run", "cancel", "--label", "team=many")
    assert (refused.returncode, "give --yes" in refused.stderr) == (2, True)
    assert shown(project, found[0]["id"])["state"] == "RUNNING"

    outcomes = done(project, "run", "cancel", "--label", "team=many", "--reason", "enough", "--yes")
    assert all(run_id in outcomes for run_id in runs)
    until(lambda: all(shown(project, run_id)["state"] == "CANCELLED" for run_id in runs))
    assert "There is no such run." in done(project, "run", "cancel", "--label", "team=many", "--yes")

    again = json.loads(done(project, "run", "rerun", "--label", "team=many", "--state", "cancelled", "--yes", "-o", "json"))
    assert {outcome["runId"] for outcome in again} == runs
    assert len({outcome["newRunId"] for outcome in again}) == 3
    done(project, "run", "cancel", "--label", "team=many", "--yes")


def test_programs_without_an_event_loop_do_the_same(project: Path) -> None:
    with connect(project / ".parade" / "mesh.json") as mesh:
        begun = mesh.start("waiting", sum=9, labels={"by": "program"})
        begun.pause("look")
        begun.resume()
        begun.signal("go", [1])
        until(lambda: bool(mesh.approvals(run_id=begun.id)))
        begun.reject("pay", note="no")
        with pytest.raises(parade.ParadeError, match="no"):
            begun.result(10)
        again = begun.rerun("pay", {"sum": 1})
        until(lambda: bool(mesh.approvals(run_id=again.id, mine=True)))
        again.approve("pay")
        assert again.result(10)["go"] == [1]
        assert [run.id for run in mesh.runs(inputs={"sum": 1}, labels={"by": "program"})] == [again.id]
        assert begun.fork(1).id != begun.id
        assert mesh.cancel_runs(labels={"by": "program"}, dry_run=True).outcomes
        assert mesh.cancel_runs(labels={"by": "program"}).outcomes


def test_the_runs_that_a_run_has_started_stand_in_its_tree(project: Path) -> None:
    (project / "parent.yaml").write_text("name: parent\nsteps: {sub: {run: waiting}}\n")
    done(project, "workflow", "put", "parent.yaml")
    run_id = done(project, "run", "parent", "--detach").strip()
    screen, terminal = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "200", "LINES": "50"}
    environment.pop("PARADE_MESH", None)
    shown_so_far = bytearray()

    def sees(text: str) -> bool:
        if select.select([screen], [], [], 0)[0]:
            shown_so_far.extend(os.read(screen, 65536))
        return text in shown_so_far.decode(errors="replace")

    with subprocess.Popen(
        [PARADE, "run", "watch", run_id], cwd=project, env=environment, stdout=subprocess.DEVNULL, stderr=terminal
    ) as watch:
        os.close(terminal)
        until(lambda: sees("waits for the signal go"))
        until(lambda: sees("waiting run-"))
        done(project, "run", "cancel", run_id)
        assert watch.wait(WAITS) == 1
    os.close(screen)
