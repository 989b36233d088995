"""What goes wrong for a user arrives as a typed, readable error within its deadline: over the SDK and over REST alike."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from parade.client import Mesh
from parade.wire.errors import ParadeError, Reason
from tests.support.waiting import eventually

DEADLINE = 10.0
"""No failure here may take longer, the one past its own deadline of a second included."""
LARGE = "x" * (5 * 1024 * 1024)
"""More than travels whole, and so more than REST takes; the client makes an artifact of it."""

CYCLE = """
name: cycle
steps:
  first:
    call: tested.echo
    needs: second
    with: {text: a}
  second:
    call: tested.echo
    needs: first
    with: {text: b}
"""
STRANGER = """
name: stranger
steps:
  only:
    call: tested.ecko
    with: {text: a}
"""

CALLS: list[tuple[str, str, dict[str, Any], float, Reason, str]] = [
    ("an unknown agent", "nobody.echo", {"text": "a"}, 5, Reason.UNKNOWN_FUNCTION, "nobody"),
    ("an unknown function", "tested.ecko", {"text": "a"}, 5, Reason.UNKNOWN_FUNCTION, "echo"),
    ("a malformed name", "echo", {"text": "a"}, 5, Reason.INVALID_ARGUMENTS, "agent.function"),
    ("a wrong argument", "tested.echo", {"text": 7}, 5, Reason.INVALID_ARGUMENTS, "text"),
    ("a missing argument", "tested.echo", {}, 5, Reason.INVALID_ARGUMENTS, "text"),
    ("a surplus argument", "tested.echo", {"text": "a", "more": 1}, 5, Reason.INVALID_ARGUMENTS, "more"),
    ("a raising function", "tested.fail", {"message": "no such row"}, 5, Reason.AGENT_ERROR, "no such row"),
    ("a function past its deadline", "tested.sleep", {"seconds": 30}, 1, Reason.DEADLINE_EXCEEDED, ""),
    ("a result outside its schema", "tested.lie", {}, 5, Reason.AGENT_ERROR, "schema"),
]
REST_CALLS = [*CALLS, ("an argument of 5 MB", "tested.echo", {"text": LARGE}, 5, Reason.INVALID_ARGUMENTS, "4 MiB")]


async def failure_of(request: Callable[[], Awaitable[Any]]) -> ParadeError:
    began = time.monotonic()
    with pytest.raises(ParadeError) as failed:
        await request()
    assert time.monotonic() - began < DEADLINE
    return failed.value


@pytest.mark.parametrize(
    ("function", "arguments", "timeout", "reason", "said"), [case[1:] for case in CALLS], ids=[case[0] for case in CALLS]
)
async def test_a_call_that_fails_says_why(
    mesh: Mesh, function: str, arguments: dict[str, Any], timeout: float, reason: Reason, said: str
) -> None:
    failure = await failure_of(lambda: mesh.call(function, arguments, timeout=timeout))

    assert failure.reason is reason
    assert said in str(failure)


@pytest.mark.parametrize(
    ("function", "arguments", "timeout", "reason", "said"), [case[1:] for case in REST_CALLS], ids=[case[0] for case in REST_CALLS]
)
async def test_a_rest_call_that_fails_says_why(
    mesh: Mesh, function: str, arguments: dict[str, Any], timeout: float, reason: Reason, said: str
) -> None:
    key = (mesh.file.folder / mesh.file.api_key).read_text().strip()
    body = {"arguments": arguments, "timeout": f"{timeout}s"}
    async with httpx.AsyncClient(base_url=mesh.file.rest, headers={"authorization": f"Bearer {key}"}, timeout=DEADLINE) as client:
        answer = await client.post(f"/v1/functions/{function}:call", json=body)

    error = answer.json()["error"]
    reasons = [detail.get("reason") for detail in error["details"]]
    assert answer.status_code >= 400
    assert reason.value in reasons
    assert said in answer.text


async def test_a_call_that_succeeds_returns_its_result(mesh: Mesh) -> None:
    assert await mesh.call("tested.echo", text="häßlich 漢字") == "häßlich 漢字"


async def test_what_is_too_large_to_travel_whole_gets_there_all_the_same(mesh: Mesh) -> None:
    assert await mesh.call("tested.echo", text=LARGE) == LARGE


async def test_an_agent_calls_another_function_over_the_mesh(mesh: Mesh) -> None:
    assert await mesh.call("tested.ask", text="round") == "round"


async def test_a_stream_yields_its_items_in_order(mesh: Mesh) -> None:
    assert [item async for item in mesh.stream("tested.count", to=500)] == list(range(500))


async def test_calls_are_shared_by_the_instances(mesh: Mesh) -> None:
    async def both() -> bool:
        together = await asyncio.gather(*(mesh.call("tested.identify") for _ in range(60)))
        return len(set(together)) == 2

    await eventually(both)  # a new instance has a small share at first, and the dispatcher may hear of it last


async def test_a_cyclic_workflow_is_refused_naming_the_cycle(mesh: Mesh) -> None:
    failure = await failure_of(lambda: mesh.put_workflow(CYCLE))

    assert failure.reason is Reason.INVALID_ARGUMENTS
    assert "first" in str(failure)
    assert any(violation.line > 0 for violation in failure.violations)


async def test_a_workflow_that_names_an_unknown_function_is_refused_at_its_line(mesh: Mesh) -> None:
    failure = await failure_of(lambda: mesh.put_workflow(STRANGER))

    assert failure.reason is Reason.INVALID_ARGUMENTS
    assert [violation.line for violation in failure.violations] == [5]
    assert "tested.ecko" in str(failure)


async def test_a_function_that_is_unknown_at_run_time_fails_the_run(mesh: Mesh) -> None:
    await mesh.put_workflow(STRANGER, allow_unregistered=True)

    run = await mesh.start("stranger")
    failure = await failure_of(lambda: run.result(timeout=DEADLINE))

    assert failure.reason is Reason.UNKNOWN_FUNCTION


async def test_an_unknown_workflow_is_not_found(mesh: Mesh) -> None:
    failure = await failure_of(lambda: mesh.start("never-put"))

    assert failure.reason is Reason.NOT_FOUND
