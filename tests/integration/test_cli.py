"""The command line against a whole mesh with an agent, as people use it: each command a process of its own."""

import json
import signal
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

AGENT = """
import asyncio
from collections.abc import AsyncIterator

import parade

worker = parade.Agent("worker")


@worker.function(effect="pure")
def double(number: int) -> int:
    return number * 2


@worker.function(effect="pure")
async def count(end: int) -> AsyncIterator[int]:
    for number in range(end):
        yield number


@worker.function(effect="pure")
async def nap(seconds: float) -> None:
    await asyncio.sleep(seconds)


@worker.function(effect="pure")
def fail(why: str) -> None:
    raise ValueError(why)
"""

WORKFLOW = """
name: doubling
inputs:
  numbers: {type: array, default: [1, 2, 3]}
steps:
  double:
    call: worker.double
    for-each: ${{ inputs.numbers }}
    with: {number: "${{ item }}"}
outputs:
  doubled: ${{ steps.double.output }}
"""

NAPPING = """
name: napping
steps:
  nap:
    call: worker.nap
    with: {seconds: 60}
"""

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in which a mesh runs and an agent is served with two instances."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "agents.py").write_text(AGENT)
    (folder / "workflow.yaml").write_text(WORKFLOW)
    (folder / "napping.yaml").write_text(NAPPING)
    with LocalMesh(folder):
        command = [str(PARADE), "agent", "serve", "agents:worker", "--instances", "2"]
        with (folder / "agents.log").open("wb") as log, subprocess.Popen(command, cwd=folder, stdout=log, stderr=log) as serving:
            try:
                until(lambda: [entry["readyInstances"] for entry in functions(folder)] == [2, 2, 2, 2])
                yield folder
            finally:
                serving.send_signal(signal.SIGINT)
                assert serving.wait(WAITS) == 0


def functions(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(run(folder, "function", "list", "-o", "json").stdout or "[]")
    return found


def test_a_call_prints_the_result_and_nothing_else(project: Path) -> None:
    result = run(project, "call", "worker.double", "number=21")

    assert (result.returncode, result.stdout, result.stderr) == (0, "42\n", "")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("worker.double", "number=many"), "INVALID_ARGUMENTS"),
        (("worker.nothing",), "UNKNOWN_FUNCTION"),
        (("nobody.double",), "UNKNOWN_FUNCTION"),
        (("worker.fail", "why=because"), "AGENT_ERROR"),
        (("worker.nap", "seconds=30", "--timeout", "300ms"), "DEADLINE_EXCEEDED"),
    ],
)
def test_a_call_that_fails_says_why_and_exits_with_1(project: Path, arguments: tuple[str, ...], reason: str) -> None:
    result = run(project, "call", *arguments)

    assert (result.returncode, result.stdout) == (1, "")
    assert f"[{reason}]" in result.stderr
    assert "Traceback" not in result.stderr


def test_items_are_printed_a_line_each(project: Path) -> None:
    assert run(project, "call", "worker.count", "end=3", "--stream").stdout == "0\n1\n2\n"


def test_timing_goes_to_standard_error(project: Path) -> None:
    result = run(project, "call", "worker.double", "number=21", "--timing")

    assert (result.returncode, result.stdout) == (0, "42\n")
    assert all(word in result.stderr for word in ("queued", "transport", "executing"))


def test_a_call_that_was_started_is_looked_after(project: Path) -> None:
    started = run(project, "call", "worker.double", "number=4", "--start", "--priority", "5", "--affinity", "a").stdout.strip()

    waited = run(project, "calls", "wait", started, "--timeout", "20s")
    shown = json.loads(run(project, "calls", "get", started, "-o", "json").stdout)
    listed = json.loads(run(project, "calls", "list", "--function", "worker.double", "--state", "succeeded", "-o", "json").stdout)

    assert (waited.returncode, waited.stdout) == (0, "8\n")
    assert (shown["state"], shown["arguments"], shown["result"]) == ("SUCCEEDED", {"number": 4}, 8)
    assert started in [call["id"] for call in listed]
    assert started in run(project, "calls", "list").stdout
    assert "SUCCEEDED" in run(project, "calls", "get", started).stdout
    assert run(project, "calls", "cancel", started).stdout == ""


def test_a_call_that_was_started_can_be_cancelled(project: Path) -> None:
    started = run(project, "call", "worker.nap", "seconds=60", "--start").stdout.strip()

    cancelled = run(project, "calls", "cancel", started, "--wait", "20s")
    waited = run(project, "calls", "wait", started)

    assert (cancelled.returncode, cancelled.stdout) == (0, "stopped\n")
    assert (waited.returncode, waited.stdout) == (1, "")
    assert "[CANCELLED]" in waited.stderr


def test_a_wait_that_is_too_short_fails_and_the_call_goes_on(project: Path) -> None:
    started = run(project, "call", "worker.nap", "seconds=60", "--start").stdout.strip()

    early = run(project, "calls", "wait", started, "--timeout", "200ms")

    assert early.returncode == 1
    assert "it goes on" in early.stderr
    assert json.loads(run(project, "calls", "get", started, "-o", "json").stdout)["state"] == "RUNNING"
    assert run(project, "calls", "cancel", started).returncode == 0


def test_items_of_a_call_that_was_started_come_from_the_first(project: Path) -> None:
    started = run(project, "call", "worker.count", "end=3", "--start").stdout.strip()

    assert run(project, "calls", "wait", started, "--stream").stdout == "0\n1\n2\n"


def test_a_call_that_nobody_started_is_not_found(project: Path) -> None:
    result = run(project, "calls", "get", "call-unknown")

    assert (result.returncode, result.stdout) == (1, "")
    assert "[NOT_FOUND]" in result.stderr


def test_an_artifact_is_put_and_got(project: Path) -> None:
    (project / "rows.csv").write_text("a,b\n1,2\n")

    digest = run(project, "artifact", "put", "rows.csv").stdout.strip()
    form = json.loads(run(project, "artifact", "put", "rows.csv", "-o", "json").stdout)

    assert form == {"artifact": {"digest": digest, "size": 8, "media_type": "text/csv"}}
    assert run(project, "artifact", "get", digest).stdout == "a,b\n1,2\n"
    assert run(project, "artifact", "get", digest, "copy.csv").returncode == 0
    assert (project / "copy.csv").read_text() == "a,b\n1,2\n"
    assert run(project, "artifact", "get", f"sha256:{'0' * 64}", "none.csv").returncode == 1
    assert not (project / "none.csv").exists()


def test_ctrl_c_ends_a_call_quietly(project: Path) -> None:
    with subprocess.Popen([PARADE, "call", "worker.nap", "seconds=60"], cwd=project, stdout=-1, stderr=-1, text=True) as calling:
        until(lambda: agents_load(project) == 1)
        calling.send_signal(signal.SIGINT)
        output, errors = calling.communicate(timeout=WAITS)

    assert (calling.returncode, output, errors) == (130, "", "")
    until(lambda: agents_load(project) == 0)


def agents_load(folder: Path) -> int:
    agent = json.loads(run(folder, "agent", "show", "worker", "-o", "json").stdout)
    return sum(instance.get("load", {}).get("inFlight", 0) for instance in agent["instances"])


def test_ps_lists_every_process_alive(project: Path) -> None:
    rows = json.loads(run(project, "ps", "-o", "json").stdout)

    assert {row["name"] for row in rows if row["kind"] == "service"} == {"monitor", "agent_manager", "dispatcher", "scheduler", "gateway"}
    assert [row["name"] for row in rows if row["kind"] == "agent"] == ["worker", "worker"]
    assert {row["state"] for row in rows} == {"ready"}
    assert len({row["pid"] for row in rows}) == len({row["id"] for row in rows}) == 7


def test_doctor_finds_nothing_wrong(project: Path) -> None:
    result = run(project, "doctor", "-o", "json")

    findings = json.loads(result.stdout)
    assert [finding for finding in findings if not finding["ok"]] == []
    assert result.returncode == 0
    assert {finding["check"] for finding in findings} >= {"python", "certificates", "scheduler", "rest", "telemetry", "agents", "clock"}


def test_a_file_is_stored_run_and_followed_to_its_outputs(project: Path) -> None:
    result = run(project, "run", "workflow.yaml", "numbers=[4,5]", "--label", "team=retail")

    assert result.returncode == 0
    assert json.loads(result.stdout) == {"doubled": [8, 10]}
    assert "double succeeded" in result.stderr
    assert run(project, "workflow", "get", "doubling").stdout.strip() == WORKFLOW.strip()


def test_a_run_can_be_shown_watched_and_traced(project: Path) -> None:
    run(project, "workflow", "put", "workflow.yaml")
    run_id = run(project, "run", "doubling", "--detach").stdout.strip()

    watched = run(project, "run", "watch", run_id, "-o", "json")
    shown = json.loads(run(project, "run", "show", run_id, "-o", "json").stdout)

    events = [json.loads(line) for line in watched.stdout.splitlines()]
    assert watched.returncode == 0
    assert [event["sequence"] for event in events] == list(range(1, len(events) + 1))
    assert (shown["state"], shown["outputs"]) == ("SUCCEEDED", {"doubled": [2, 4, 6]})
    assert run_id in [row["id"] for row in json.loads(run(project, "run", "list", "-o", "json").stdout)]
    until(lambda: "worker.double" in run(project, "trace", run_id).stdout)


def test_a_definition_with_faults_is_refused_with_their_lines(project: Path) -> None:
    (project / "faulty.yaml").write_text(
        "name: faulty\nsteps:\n  a: {call: worker.double, needs: [a]}\n  b: {call: worker.double, wiht: {}}\n"
    )

    result = run(project, "workflow", "put", "faulty.yaml")

    assert (result.returncode, result.stdout) == (1, "")
    assert "line 3: " in result.stderr
    assert "line 4: " in result.stderr


def test_a_check_tells_every_fault_and_what_to_write_instead(project: Path) -> None:
    (project / "unsound.yaml").write_text("name: unsound\nsteps:\n  a: {call: worker.duoble}\n  b: {call: worker.nap, wiht: {}}\n")

    result = run(project, "workflow", "check", "unsound.yaml", "workflow.yaml")

    assert (result.returncode, result.stdout.splitlines()) == (
        1,
        [
            "unsound.yaml:3: no agent has registered the function `worker.duoble` (did you mean `worker.double`?)",
            "unsound.yaml:4: there is no word `wiht` here (did you mean `with`?)",
        ],
    )
    found = json.loads(run(project, "workflow", "check", "unsound.yaml", "--allow-unregistered", "-o", "json").stdout)
    assert [(entry["file"], entry["faultCount"]) for entry in found] == [("unsound.yaml", 1)]
    assert found[0]["faults"][0] == {
        "field": "steps.b.wiht",
        "line": 4,
        "description": "there is no word `wiht` here",
        "hint": "did you mean `with`?",
    }


def test_a_check_that_finds_nothing_says_so_in_a_line_and_stores_nothing(project: Path) -> None:
    (project / "fresh.yaml").write_text("name: fresh\nsteps:\n  a: {call: worker.nap}\n")

    one, two = run(project, "workflow", "check", "fresh.yaml"), run(project, "workflow", "check", "fresh.yaml", "workflow.yaml")

    assert (one.returncode, one.stdout, one.stderr) == (0, "no fault in fresh.yaml\n", "")
    assert (two.returncode, two.stdout) == (0, "no fault in 2 files\n")
    assert run(project, "workflow", "get", "fresh").returncode == 1


def test_a_workflow_is_drawn_from_its_file_and_by_its_name(project: Path) -> None:
    run(project, "workflow", "put", "napping.yaml")

    chart = run(project, "workflow", "graph", "workflow.yaml")
    stored = run(project, "workflow", "graph", "napping")
    picture = run(project, "workflow", "graph", "workflow.yaml", "--format", "svg", "--output", "workflow.svg")

    assert (chart.returncode, chart.stderr) == (0, "")
    assert 'step_double[["double<br/>worker.double<br/>for each item"]]' in chart.stdout
    assert 'step_nap["nap<br/>worker.nap"]' in stored.stdout
    assert (picture.returncode, picture.stdout) == (0, "")
    assert (project / "workflow.svg").read_text().startswith("<svg ")


def test_what_cannot_be_drawn_is_told(project: Path) -> None:
    (project / "undrawn.yaml").write_text("name: undrawn\nsteps:\n  a: {call: worker.double, needs: [a]}\n")

    faulty, unknown = run(project, "workflow", "graph", "undrawn.yaml"), run(project, "workflow", "graph", "nowhere")

    assert (faulty.returncode, faulty.stdout) == (1, "")
    assert "undrawn.yaml:3: " in faulty.stderr
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert "[NOT_FOUND]" in unknown.stderr


def test_a_run_that_is_cancelled_exits_with_1_where_it_is_followed(project: Path) -> None:
    with subprocess.Popen([PARADE, "run", "napping.yaml"], cwd=project, stdout=-1, stderr=-1, text=True) as following:
        until(lambda: bool(running(project)))
        cancelled = run(project, "run", "cancel", running(project)[0], "--reason", "enough", "--wait", "10s")
        output, errors = following.communicate(timeout=WAITS)

    assert cancelled.returncode == 0
    assert (following.returncode, output) == (1, "")
    assert "run cancelled" in errors


def running(folder: Path) -> list[str]:
    runs = json.loads(run(folder, "run", "list", "--workflow", "napping", "--state", "running", "-o", "json").stdout or "[]")
    return [entry["id"] for entry in runs]


def test_a_paused_agent_takes_no_calls_until_it_is_resumed(project: Path) -> None:
    run(project, "agent", "pause", "worker")
    paused = run(project, "call", "worker.double", "number=1", "--timeout", "2s")
    run(project, "agent", "resume", "worker")
    resumed = run(project, "call", "worker.double", "number=1", "--timeout", "2s")

    assert (paused.returncode, resumed.stdout) == (1, "2\n")
    assert "[NO_CAPACITY]" in paused.stderr


def test_logs_can_be_followed_until_ctrl_c(project: Path) -> None:
    until(lambda: bool(json.loads(run(project, "logs", "--service", "worker", "-o", "json").stdout)))

    with subprocess.Popen([PARADE, "logs", "-f", "--service", "worker", "-o", "json"], cwd=project, stdout=-1, text=True) as following:
        assert following.stdout is not None
        first = json.loads(following.stdout.readline())
        following.send_signal(signal.SIGINT)
        following.wait(WAITS)

    assert first["service"] == "worker"
    assert following.returncode == 130


def test_the_blocking_client_does_what_the_other_does(project: Path) -> None:
    with connect(project / ".parade" / "mesh.json") as mesh:
        assert mesh.call("worker.double", number=4) == 8
        assert list(mesh.stream("worker.count", end=3)) == [0, 1, 2]
        mesh.put_workflow(WORKFLOW)
        started = mesh.start("doubling", numbers=[7])
        assert started.result(timeout=10) == {"doubled": [14]}
        assert [event.type for event in started.events()][-1] is parade.EventType.RUN_SUCCEEDED
        assert mesh.run(started.id).get().id == started.id
        assert [agent.name for agent in mesh.agents()] == ["worker"]
        with pytest.raises(parade.ParadeError) as refused:
            mesh.call("worker.nothing")
        assert refused.value.reason is parade.Reason.UNKNOWN_FUNCTION
