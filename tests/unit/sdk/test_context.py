"""A call as its function sees it, without a mesh."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

import parade
from parade.cancellation import Cancellation
from parade.wire.errors import ParadeError, Reason


class Recorder:
    """Calls nothing, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any], float | None]] = []
        self.parents: list[tuple[str, bytes]] = []
        self.secrets: list[tuple[str, ...]] = []
        self.ended: list[str] = []

    async def call(
        self,
        function: str,
        arguments: Mapping[str, Any],
        timeout: float | None = None,
        *,
        options: Any = None,
        parent_call_id: str = "",
        mandate: bytes = b"",
    ) -> Any:
        self.asked.append((function, dict(arguments), timeout))
        self.parents.append((parent_call_id, mandate))
        self.secrets.append(() if options is None else options.secrets)
        try:
            return await asyncio.Event().wait() if function == "never.ends" else 42
        finally:
            self.ended.append(function)

    async def stream(
        self,
        function: str,
        arguments: Mapping[str, Any],
        timeout: float | None = None,
        *,
        options: Any = None,
        parent_call_id: str = "",
        mandate: bytes = b"",
    ) -> AsyncIterator[Any]:
        self.asked.append((function, dict(arguments), timeout))
        self.parents.append((parent_call_id, mandate))
        self.secrets.append(() if options is None else options.secrets)
        yield 42


async def test_a_function_can_be_tried_without_a_mesh() -> None:
    context = parade.Context()

    await context.progress(0.5, "half")

    assert not context.cancelled
    assert (context.deadline, context.remaining()) == (None, None)
    with pytest.raises(ParadeError) as caught:
        await context.call("a.b")
    assert caught.value.reason is Reason.FAILED_PRECONDITION


async def test_a_nested_call_gets_no_more_time_than_is_left() -> None:
    calls = Recorder()
    context = parade.Context(timeout=5, calls=calls)

    await context.call("a.b", {"timeout": 1}, timeout=60, x=2)
    await context.call("a.b", timeout=1)
    assert [item async for item in context.stream("a.c")] == [42]

    (_, arguments, first), (_, _, second), (_, _, third) = calls.asked
    assert arguments == {"timeout": 1, "x": 2}
    assert first is not None
    assert 4 < first <= 5
    assert second == 1
    assert third is not None
    assert third <= 5


async def test_a_nested_call_names_the_call_that_it_is_a_part_of_and_shows_its_mandate() -> None:
    calls = Recorder()
    context = parade.Context(call_id="call-1", calls=calls, mandate=b"m")

    await context.call("a.b")
    assert [item async for item in context.stream("a.c")] == [42]

    assert calls.parents == [("call-1", b"m")] * 2


async def test_a_nested_call_says_which_secrets_of_the_call_it_is_given_and_no_others() -> None:
    calls = Recorder()
    context = parade.Context(calls=calls, secrets=['k3y "of" the bank', "0ther"])
    own = parade.CallOptions(secrets=["own"])

    await context.call("a.b", {"rows": [{"header": 'Bearer k3y "of" the bank'}]})
    await context.call("a.b", {"header": "none"})
    await context.call("a.b", {"header": "0ther"}, options=own)
    assert [item async for item in context.stream("a.c", {"key": "0ther"})] == [42]

    assert calls.secrets == [('k3y "of" the bank',), (), ("own", "0ther"), ("0ther",)]


async def test_nested_calls_end_with_the_call_also_those_that_nobody_awaits() -> None:
    calls = Recorder()
    context = parade.Context(calls=calls)
    beside = asyncio.create_task(context.call("never.ends"))
    while not calls.asked:
        await asyncio.sleep(0)

    context.end_calls(asyncio.current_task())

    with pytest.raises(asyncio.CancelledError):
        await beside
    assert calls.ended == ["never.ends"]


async def test_no_call_starts_once_the_time_is_up() -> None:
    context = parade.Context(timeout=0, calls=Recorder())

    with pytest.raises(ParadeError) as caught:
        await context.call("a.b")

    assert caught.value.reason is Reason.DEADLINE_EXCEEDED


async def test_a_thread_waits_for_a_call() -> None:
    context = parade.Context(calls=Recorder(), loop=asyncio.get_running_loop())

    assert await asyncio.to_thread(lambda: context.wait(context.call("a.b"))) == 42


async def test_cancellation_ends_the_waiting_of_a_thread() -> None:
    calls, cancelled = Recorder(), Cancellation()
    context = parade.Context(calls=calls, cancelled=cancelled, loop=asyncio.get_running_loop())
    waiting = asyncio.create_task(asyncio.to_thread(lambda: context.wait(context.call("never.ends"))))
    while not calls.asked:
        await asyncio.sleep(0)

    cancelled.set()

    with pytest.raises(ParadeError) as caught:
        await waiting
    assert caught.value.reason is Reason.CANCELLED


async def test_a_thread_whose_waiting_was_cancelled_goes_on_once_what_it_waited_for_has_ended() -> None:
    async def slow_to_end() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.05)
            ended.append(True)

    begun, ended, cancelled = asyncio.Event(), list[bool](), Cancellation()
    context = parade.Context(cancelled=cancelled, loop=asyncio.get_running_loop())
    waiting = asyncio.create_task(asyncio.to_thread(lambda: context.wait(slow_to_end())))
    await begun.wait()

    cancelled.set()

    with pytest.raises(ParadeError):
        await waiting
    assert ended == [True]


async def test_a_coroutine_is_told_to_await_in_place_of_waiting() -> None:
    context = parade.Context(calls=Recorder(), loop=asyncio.get_running_loop())

    with pytest.raises(RuntimeError, match="await"):
        context.wait(context.call("a.b"))


async def test_cancellation_can_be_asked_awaited_and_waited_for() -> None:
    cancelled = Cancellation()
    awaiting = asyncio.ensure_future(cancelled)
    waiting = asyncio.create_task(asyncio.to_thread(cancelled.wait, 10))
    assert not cancelled
    assert not cancelled.wait(0)

    cancelled.set()

    await awaiting
    assert await waiting
    assert cancelled
