"""What becomes of a call is said without the secrets that it holds: in errors, progress notes and on record."""

from typing import Any

import pytest

from parade.wire.errors import Reason, Violation
from parade_dispatcher.model import Agent, Effect, Function, Progress
from tests.unit.dispatcher.engine_world import Caller, World, pause, virtual

KEY = "k3y-of-the-bank"
PIN = "4711"
SECRETS = (KEY, PIN)
STRICT = Function("strict", arguments_schema=b'{"properties": {"key": {"type": "number"}}}', effect=Effect.PURE, timeout=10)
QUOTING: dict[str, Any] = {"violations": [Violation(f"accounts.{KEY}", f"{PIN} is wrong")], "metadata": {"sent": f"Bearer {KEY}"}}


def told(caller: Caller) -> str:
    error = caller.error
    return f"{error.message} {error.violations} {error.metadata}"


@pytest.mark.parametrize("function", ["read", "write", "rows"])
@pytest.mark.parametrize("reason", [Reason.AGENT_ERROR, Reason.INVALID_ARGUMENTS, Reason.CANCELLED, Reason.INTERNAL])
@virtual
async def test_what_an_instance_fails_with_is_told_and_written_without_them(function: str, reason: Reason) -> None:
    world = World()
    world.instance("i1")
    caller = world.call(function, secrets=SECRETS, window=100)
    await pause()
    world.sent[0].fail(reason, f"no {KEY} with {PIN}", **QUOTING)
    await pause()

    assert caller.error.message == "no *** with ***"
    assert not any(secret in told(caller) for secret in SECRETS)
    assert not any(secret in repr(known) for known in world.ledger.written.values() for secret in SECRETS)


@virtual
async def test_an_outcome_that_is_asked_for_or_heard_late_is_written_without_them() -> None:
    world = World()
    world.instance("i1")
    asked, late = world.call("write", secrets=SECRETS), world.call("write", secrets=SECRETS, timeout=1)
    await pause()
    world.sent[0].lose()
    await pause(0.1)
    world.sent[2].fail(Reason.AGENT_ERROR, f"no {KEY}", **QUOTING)
    await pause(2)
    world.sent[1].fail(Reason.AGENT_ERROR, f"no {KEY}", **QUOTING)
    await pause()

    assert asked.error.message == "no ***"
    assert late.error.reason is Reason.DEADLINE_EXCEEDED
    assert [str(known.outcome) for known in world.ledger.written.values()] == ["no ***\n  accounts.***: *** is wrong"] * 2


@virtual
async def test_what_the_dispatcher_itself_finds_wrong_is_said_without_them() -> None:
    world = World()
    world.instance("i1", functions={"strict": STRICT})
    world.pools.put(Agent("default", "store", functions={"strict": STRICT, "read": Function("read", result_schema=b'{"type": "number"}')}))
    misfit = world.call("strict", arguments=f'{{"key": "{KEY}"}}'.encode(), secrets=SECRETS)

    assert misfit.error.reason is Reason.INVALID_ARGUMENTS
    assert "***" in told(misfit)
    assert KEY not in told(misfit)


@virtual
async def test_a_result_outside_its_schema_is_quoted_without_them() -> None:
    world = World()
    world.instance("i1")
    caller = world.call("read", secrets=SECRETS)
    await pause()
    world.sent[0].answer(f'"{KEY}"'.encode())

    assert "***" in told(caller)
    assert KEY not in told(caller)


@virtual
async def test_a_result_is_passed_on_as_it_is() -> None:
    world = World()
    world.instance("i1")
    caller = world.call("again", secrets=SECRETS)
    await pause()
    world.sent[0].answer(f'"{KEY}"'.encode())

    assert caller.answer.result == f'"{KEY}"'.encode()


@virtual
async def test_a_progress_note_is_passed_on_without_them() -> None:
    world = World()
    world.instance("i1")
    caller = world.call("read", secrets=SECRETS, window=100)
    heard: list[Progress] = []
    caller.progressed = heard.append  # type: ignore[method-assign, assignment]  # the caller notes how far alone
    await pause()
    world.sent[0].receiver.progressed(Progress(0.5, f"with {KEY}"))

    assert heard == [Progress(0.5, "with ***")]


@virtual
async def test_the_instance_is_told_which_they_are() -> None:
    world = World()
    world.instance("i1")
    world.call("read", secrets=SECRETS)
    world.call("read")
    await pause()

    assert [sent.call.secrets for sent in world.sent] == [SECRETS, ()]
    assert KEY not in repr(world.sent[0].call)
