"""Turns of durable functions: what is kept between them, what is played again, and what does not match.

One file, though a long one: all of it takes turns with the same few functions, in other orders.
"""

import gc
import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import orjson
import pytest

import parade
from parade.durable.definition import function_of
from parade.durable.errors import NondeterminismError
from parade.durable.turns import Turns
from parade.function import Function
from parade.function_error import FunctionError
from parade.wire.errors import ParadeError, Reason
from parade.wire.log import Log

START = 1_790_000_000_000_000


class Keeping:
    """Where log records go."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def log(self, severity: str, event: str, fields: dict[str, Any]) -> None:
        self.events.append(event)


class Scheduled:
    """One run, with a journal that the test writes."""

    def __init__(self, body: Callable[..., Any], turns: Turns | None = None, run_id: str = "run-1") -> None:
        self.turns = turns if turns is not None else Turns()
        self.function = function(body)
        self.journal: list[dict[str, Any]] = []
        self.seen = 0
        self.run_id = run_id
        self.log = Keeping()

    def turn(self, turns: Turns | None = None) -> dict[str, Any]:
        """Takes a turn and notes what it asks for."""
        answer = self.lost_turn(turns)
        if "asks" in answer:
            self.journal.extend(
                {"kind": ask["kind"], "name": ask["name"], "digest": ask["digest"], "state": "OPEN"} for ask in answer["asks"]
            )
            for index in answer["cancels"]:
                self.journal[index - 1]["state"] = "CANCELLED"
            self.seen = answer["seen"]
        return answer

    def lost_turn(self, turns: Turns | None = None) -> dict[str, Any]:
        """Takes a turn whose answer does not arrive."""
        envelope = {"arguments": {}, "journal": self.journal, "seen": self.seen, "time": START}
        chosen = self.turns if turns is None else turns
        turn = chosen.prepare(self.function, self.run_id, orjson.dumps(envelope), lambda: Log(self.log))
        answer: dict[str, Any] = orjson.loads(chosen.take(turn))
        return answer

    def news(self, turns: Turns | None = None) -> dict[str, Any]:
        """Takes a turn that tells only what is new."""
        digest = hashlib.blake2b("".join(entry["digest"] for entry in self.journal).encode(), digest_size=8).hexdigest()
        new = [{"index": index, **entry} for index, entry in enumerate(self.journal, 1) if entry.get("ended", 0) > self.seen]
        envelope = {"news": new, "known": {"count": len(self.journal), "digest": digest}, "seen": self.seen, "time": START}
        chosen = self.turns if turns is None else turns
        answer: dict[str, Any] = orjson.loads(chosen.take(chosen.prepare(self.function, self.run_id, orjson.dumps(envelope), Log)))
        return answer

    def end(self, index: int, output: Any = None) -> None:
        ended = max((entry.get("ended", START) for entry in self.journal), default=START) + 1
        self.journal[index - 1].update(state="SUCCEEDED", output=output, ended=ended)


def function(body: Callable[..., Any]) -> Function:
    @parade.workflow
    async def flow(ctx: parade.WorkflowContext) -> Any:
        return await body(ctx)

    return function_of(flow)


async def _three_calls(ctx: parade.WorkflowContext) -> Any:
    ctx.log.info("begins")
    first = await ctx.call("a.one", number=1)
    ctx.log.info("one came")
    second, third = await ctx.gather(ctx.call("a.two", after=first), ctx.call("a.three"))
    return [first, second, third]


def names(answer: dict[str, Any]) -> list[str]:
    return [ask["name"] for ask in answer["asks"]]


def test_a_turn_answers_what_is_asked_for_next_and_at_last_the_result() -> None:
    run = Scheduled(_three_calls)

    assert names(run.turn()) == ["a.one"]
    run.end(1, "x")
    answer = run.turn()
    assert [(ask["index"], ask["name"], ask["arguments"]) for ask in answer["asks"]] == [(2, "a.two", {"after": "x"}), (3, "a.three", {})]
    run.end(3, "z")
    assert names(run.turn()) == []
    run.end(2, "y")
    assert run.turn() == {"result": ["x", "y", "z"]}
    assert len(run.turns) == 0


def test_a_function_that_is_kept_goes_on_without_being_played_again() -> None:
    begun = []

    async def body(ctx: parade.WorkflowContext) -> Any:
        begun.append(ctx.run_id)
        return [await ctx.call("a.b"), await ctx.call("a.c")]

    run = Scheduled(body)
    for index in (1, 2):
        run.turn()
        run.end(index, index)

    assert run.turn() == {"result": [1, 2]}
    assert begun == ["run-1"]


def test_another_instance_is_in_the_same_place_afterwards() -> None:
    run = Scheduled(_three_calls)
    run.turn()
    run.end(1, "x")

    assert run.lost_turn(Turns()) == run.lost_turn(run.turns) == run.lost_turn(Turns())


def test_what_was_kept_from_a_turn_whose_answer_was_lost_is_not_gone_on_with() -> None:
    run = Scheduled(_three_calls)

    assert names(run.lost_turn()) == ["a.one"]
    assert names(run.turn()) == ["a.one"]
    run.end(1, "x")
    assert names(run.lost_turn()) == ["a.two", "a.three"]
    assert names(run.turn()) == ["a.two", "a.three"]


def test_ends_are_told_in_the_order_in_which_they_came_though_they_arrive_together() -> None:
    async def body(ctx: parade.WorkflowContext) -> Any:
        order = []

        async def one(name: str) -> None:
            await ctx.call(name)
            order.append(name)
            await ctx.call(name + "-after")

        await ctx.gather(one("a.a"), one("a.b"), one("a.c"))
        return order

    run = Scheduled(body)
    run.turn()
    for index in (3, 1, 2):
        run.end(index)

    assert names(run.turn(Turns())) == ["a.c-after", "a.a-after", "a.b-after"]
    for index in (4, 5, 6):
        run.end(index)
    assert run.turn(Turns()) == {"result": ["a.c", "a.a", "a.b"]}


def test_the_log_says_nothing_twice() -> None:
    run = Scheduled(_three_calls)

    run.turn(Turns())
    assert run.log.events == ["begins"]
    run.end(1)
    run.turn(Turns())
    assert run.log.events == ["begins", "one came"]
    run.end(2)
    run.turn(Turns())
    run.end(3)
    run.turn(Turns())
    assert run.log.events == ["begins", "one came"]


def test_the_log_is_not_silent_for_what_asks_for_nothing_new() -> None:
    async def body(ctx: parade.WorkflowContext) -> Any:
        async def one(name: str) -> None:
            await ctx.call(name)
            ctx.log.info(name)

        await ctx.gather(one("a.a"), one("a.b"))

    run = Scheduled(body)
    run.turn(Turns())
    run.end(2)
    run.turn(Turns())
    run.end(1)
    run.turn(Turns())

    assert run.log.events == ["a.b", "a.a"]


def test_what_lost_a_race_is_given_up_once() -> None:
    async def body(ctx: parade.WorkflowContext) -> Any:
        winner = await ctx.race(ctx.call("a.slow"), ctx.sleep(60), ctx.call("a.quick"))
        await ctx.call("a.after")
        return winner.index

    run = Scheduled(body)
    assert run.turn()["cancels"] == []
    run.end(3)
    assert run.lost_turn(Turns())["cancels"] == [1, 2]
    assert run.turn()["cancels"] == [1, 2]
    run.end(4)
    assert run.turn(Turns()) == {"result": 2}


def test_an_end_that_came_though_it_was_given_up_changes_nothing() -> None:
    async def body(ctx: parade.WorkflowContext) -> Any:
        winner = await ctx.race(ctx.call("a.slow"), ctx.call("a.quick"))
        return [winner.index, await ctx.call("a.after")]

    run = Scheduled(body)
    run.turn()
    run.end(2)
    run.end(1)
    assert names(run.turn()) == ["a.after"]
    run.end(3, "after")
    assert run.turn(Turns()) == {"result": [1, "after"]}


# ------------------------------------------------------------------------------------------------------ only what is new


def test_who_keeps_the_function_needs_only_what_is_new() -> None:
    run = Scheduled(_three_calls)
    run.turn()
    run.end(1, "x")

    assert names(run.news()) == ["a.two", "a.three"]


def test_who_does_not_keep_it_asks_for_everything() -> None:
    run = Scheduled(_three_calls)
    run.turn()
    run.end(1, "x")

    assert run.news(Turns()) == {"again": True}
    run.lost_turn()
    assert run.news() == {"again": True}
    assert names(run.turn()) == ["a.two", "a.three"]


def test_who_was_left_out_of_a_turn_asks_for_everything() -> None:
    run, other = Scheduled(_three_calls), Turns()
    run.turn()
    run.end(1, "x")
    run.turn()
    run.end(2, "y")
    assert run.turn(other)["asks"] == []
    run.end(3, "z")

    assert run.news() == {"again": True}
    assert run.news(other) == {"result": ["x", "y", "z"]}


def test_what_is_kept_of_other_code_is_not_gone_on_with() -> None:
    run = Scheduled(_three_calls)
    run.turn()
    run.journal[0]["digest"] = "another"
    run.end(1, "x")

    assert run.news() == {"again": True}


def test_what_is_given_up_in_an_answer_that_was_lost_is_given_up_again() -> None:
    async def body(ctx: parade.WorkflowContext) -> Any:
        try:
            await ctx.gather(ctx.call("a.fails"), ctx.call("a.slow"))
        except parade.ParadeError:
            return await ctx.race(ctx.wait_signal("go"))

    run = Scheduled(lambda ctx: ctx.gather(ctx.call("a.b"), body(ctx)))
    run.turn()
    run.end(2)
    run.journal[1].update(state="FAILED", failure={"reason": "AGENT_ERROR", "message": "broken"})

    assert run.lost_turn()["cancels"] == [3]
    assert run.news() == {"again": True}
    assert run.turn()["cancels"] == [3]


def test_what_ended_and_is_not_heard_yet_is_not_given_up_again() -> None:
    async def body(ctx: parade.WorkflowContext) -> Any:
        winner = await ctx.race(ctx.call("a.slow"), ctx.call("a.slower"), ctx.call("a.quick"))
        return [winner.index, await ctx.call("a.after")]

    run = Scheduled(body)
    run.turn()
    run.end(3)
    run.end(1)

    assert run.news()["cancels"] == [2]
    assert run.turn(Turns())["cancels"] == [2]


# ------------------------------------------------------------------------------------------------------- code that changed


def _changed(body: Callable[..., Any], *, ends: int = 1) -> str:
    """Returns what a run of three calls says under other code."""
    run = Scheduled(_three_calls)
    run.turn()
    for index in range(1, ends + 1):
        run.end(index, "x")
        run.turn()
    run.function = function(body)
    with pytest.raises(NondeterminismError) as raised:
        run.turn(Turns())
    assert not raised.value.retryable
    with pytest.raises(NondeterminismError, match="the code does not match"):
        run.turn(Turns())
    return raised.value.message


async def _another_function(ctx: parade.WorkflowContext) -> Any:
    await ctx.call("a.other", number=1)


async def _other_arguments(ctx: parade.WorkflowContext) -> Any:
    await ctx.call("a.one", number=2)


async def _another_kind(ctx: parade.WorkflowContext) -> Any:
    await ctx.sleep(5)


async def _ends_early(ctx: parade.WorkflowContext) -> Any:
    return await ctx.call("a.one", number=1)


async def _asks_less(ctx: parade.WorkflowContext) -> Any:
    await ctx.call("a.one", number=1)
    await ctx.call("a.two", after="x")


async def _raises(ctx: parade.WorkflowContext) -> Any:
    await ctx.call("a.one", number=1)
    raise KeyError("new")


async def _swallows(ctx: parade.WorkflowContext) -> Any:
    try:
        await ctx.call("a.other")
    except Exception:  # noqa: BLE001
        return await ctx.call("a.one", number=1)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (_another_function, "request 1 was a call of `a.one`, and now it is a call of `a.other`"),
        (_other_arguments, "request 1 was a call of `a.one`, and now it is a call of `a.one`, with other arguments"),
        (_another_kind, "request 1 was a call of `a.one`, and now it is a timer"),
        (_ends_early, "request 2 was a call of `a.two`, and now it ends before it gets there"),
        (_asks_less, "request 3 was a call of `a.three`, and now it waits for something else before it gets there"),
        (_raises, "request 2 was a call of `a.two`, and now it ends before it gets there"),
        (_swallows, "request 1 was a call of `a.one`, and now it is a call of `a.other`"),
    ],
)
def test_code_that_changed_is_found_out_and_said_where(body: Callable[..., Any], said: str) -> None:
    assert said in _changed(body)


def test_chance_of_its_own_is_found_out() -> None:
    numbers: Iterator[int] = iter(range(100))

    async def body(ctx: parade.WorkflowContext) -> Any:
        await ctx.call("a.b", number=next(numbers))
        await ctx.call("a.c")

    run = Scheduled(body)
    run.turn()
    run.end(1)

    with pytest.raises(NondeterminismError, match="with other arguments"):
        run.turn(Turns())


def test_how_long_and_how_often_may_change() -> None:
    async def before(ctx: parade.WorkflowContext) -> Any:
        await ctx.call("a.b", timeout=5)
        await ctx.sleep(60)

    async def after(ctx: parade.WorkflowContext) -> Any:
        await ctx.call("a.b", timeout=50, retry=parade.Retry(attempts=3))
        await ctx.sleep(600)

    run = Scheduled(before)
    run.turn()
    run.end(1)
    run.turn()
    run.end(2)
    run.function = function(after)

    assert run.turn(Turns()) == {"result": None}


# ------------------------------------------------------------------------------------------------------------------- bounds


def test_no_more_are_kept_than_may_be_and_the_oldest_go_first() -> None:
    turns = Turns(max_kept=2)
    runs = [Scheduled(_three_calls, turns, f"run-{number}") for number in range(3)]
    for run in runs:
        run.turn()

    assert len(turns) == 2
    runs[0].end(1, "x")
    assert names(runs[0].turn()) == ["a.two", "a.three"]
    assert runs[0].log.events == ["begins", "one came"]


def test_no_more_bytes_are_kept_than_may_be() -> None:
    turns = Turns(max_kept_bytes=10_000)
    run = Scheduled(_three_calls, turns)
    run.turn()
    assert len(turns) == 1
    run.end(1, "x" * 20_000)

    assert names(run.turn()) == ["a.two", "a.three"]
    assert len(turns) == 0


def test_what_is_thrown_away_says_nothing_and_holds_nothing(recwarn: pytest.WarningsRecorder) -> None:
    async def body(ctx: parade.WorkflowContext) -> Any:
        try:
            await ctx.gather(ctx.call("a.b"), ctx.call("a.c"))
        finally:
            ctx.log.info("cleans up")
            await ctx.call("a.clean")

    run = Scheduled(body)
    run.turn()
    run.turns.close()
    gc.collect()

    assert run.log.events == []
    assert len(run.turns) == 0
    assert not recwarn.list


def test_a_run_asks_for_so_much_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("parade.durable.execution.MAX_ASKS", 3)

    async def body(ctx: parade.WorkflowContext) -> Any:
        await ctx.gather(*(ctx.call("a.b", number=number) for number in range(4)))

    with pytest.raises(FunctionError, match="at most 3 things; let child runs do parts of it"):
        Scheduled(body).turn()


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"city": "Rome"}', b'{"arguments": {}, "journal": [{}], "time": 1}', b"nothing"])
def test_what_is_no_turn_is_refused(data: bytes) -> None:
    with pytest.raises(ParadeError, match="started as a run") as raised:
        Turns().prepare(function(_three_calls), "run-1", data, Log)

    assert raised.value.reason is Reason.INVALID_ARGUMENTS
