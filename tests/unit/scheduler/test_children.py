"""The runs that tasks start: each begun once, whatever happens, and its end told to the task that waits for it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from parade.wire.errors import ParadeError, Reason
from parade_scheduler.decider import (
    CancelChild,
    CancelRequested,
    Dispatch,
    Effect,
    Execution,
    Occurrence,
    RunEnded,
    StartChild,
    Started,
    TaskSucceeded,
)
from parade_scheduler.document import Document
from parade_scheduler.language import read
from parade_scheduler.leading.happenings import ElsewhereError, Whole
from parade_scheduler.model import Parent, Run, RunState
from parade_scheduler.starts.children import MAX_DEPTH, Children
from parade_scheduler.storage.store import Change
from tests.unit.scheduler.leading import Led, leading

PARENT = "name: parent\nsteps: {sub: {run: child}}\noutputs: {sub: '${{ steps.sub.output }}'}"
CHILD = "name: child\nsteps: {a: {call: x.a}}\noutputs: {a: '${{ steps.a.output }}'}"


class Family:
    """A journal whose runs start others: it carries their effects out, and begins them as the test lets it."""

    def __init__(self, led: Led) -> None:
        self.led = led
        self.calls: dict[str, Dispatch] = {}
        """The calls of functions that are handed out, by run."""
        self.asked: list[str] = []
        """The children that were to be begun."""
        self.refusals: list[Exception] = []
        self.held_up: asyncio.Event | None = None
        self.children = self._new_children()
        self._tasks: list[asyncio.Task[None]] = []

    def _new_children(self) -> Children:
        return Children(self.led.journal, self, self.led.store, self.led.clock, self.led.log)

    async def start_child(self, parent: Run, effect: StartChild) -> Whole | None:
        self.asked.append(effect.run)
        if self.held_up is not None:
            await self.held_up.wait()
        if self.refusals:
            raise self.refusals.pop(0)
        parent_task = Parent(parent.id, effect.step, effect.task, effect.attempt)
        run = Run(effect.run, "default", "child", 1, effect.inputs, self.led.clock.now(), parent=parent_task)
        try:
            return await self.led.journal.start(Execution(read(CHILD), run), Started())
        except ElsewhereError:
            return None

    def release(self, run: Run, effect: Effect) -> None:
        match effect:
            case StartChild():
                self.children.start(run, effect)
            case CancelChild():
                self.children.cancel(run, effect)
            case RunEnded():
                self.children.ended(run)
            case Dispatch():
                self.calls[run.id] = effect

    def leave(self, run: str) -> None:
        pass

    def lead(self) -> None:
        self._tasks = [asyncio.create_task(self.led.journal.lead(self)), asyncio.create_task(self.led.loader.lead())]

    async def end(self) -> None:
        await self.children.end()
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
        await self.led.end()

    async def crash(self) -> None:
        """Loses everything but the store, and begins anew from it."""
        await self.end()
        self.calls.clear()
        await self.led.crash()
        await self.led.end()
        self.led.loader.take_over(self.led.shards.held)
        self.children = self._new_children()
        self.lead()

    async def begin(self) -> tuple[str, str]:
        """Begins a parent, and returns it and its child once a function is called for that."""
        whole = await self.led.begin(source=PARENT)
        assert whole is not None
        await self.led.until(lambda: self.calls)
        [child] = self.calls
        return whole[0].id, child

    def succeed(self, run: str, output: bytes = b"7") -> None:
        """Answers the call of a run."""
        call = self.calls.pop(run)
        self.led.journal.report(run, TaskSucceeded(call.step, call.task, call.attempt, Document(output)))

    async def ended(self, run: str) -> Run:
        """Waits until a run has ended, and returns it."""
        found: list[Run] = []

        async def look() -> None:
            while True:
                stored = await self.led.store.run("default", run)
                if stored is not None and stored.ended:
                    found.append(stored)
                    return
                await asyncio.sleep(0.01)

        looking = asyncio.create_task(look())
        await self.led.until(looking.done)
        return found[0]


@pytest.fixture
async def family(tmp_path: Path) -> AsyncIterator[Family]:
    async with leading(tmp_path) as led:
        await led.put(PARENT)
        await led.put(CHILD)
        family = Family(led)
        family.lead()
        yield family
        await family.end()


async def test_a_child_is_begun_and_its_outputs_are_those_of_the_task(family: Family) -> None:
    parent, child = await family.begin()

    family.succeed(child)

    assert (await family.ended(parent)).outputs == Document(b'{"sub":{"a":7}}')
    stored = await family.led.store.run("default", child)
    assert stored is not None
    assert stored.parent == Parent(parent, "sub", 0, 1)


async def test_a_parent_that_is_taken_up_again_finds_its_child(family: Family) -> None:
    parent, child = await family.begin()
    await family.crash()
    await family.led.until(lambda: family.calls)

    family.succeed(child)

    assert (await family.ended(parent)).state is RunState.SUCCEEDED
    assert family.asked == [child]


async def test_a_child_that_ended_while_nobody_told_its_parent_is_heard_of_afterwards(family: Family) -> None:
    parent, child = await family.begin()
    family.led.journal.report(child, CancelRequested())
    call = family.calls.pop(child)
    family.children.ended = lambda child: None  # type: ignore[method-assign]  # as if the process ended right after the commit
    family.led.journal.report(child, TaskSucceeded(call.step, call.task, call.attempt, Document(b"7")))
    await family.ended(child)

    await family.crash()

    assert (await family.ended(parent)).state is RunState.FAILED
    assert family.asked == [child]


@pytest.mark.parametrize("reason", [Reason.UNAVAILABLE, Reason.NO_CAPACITY])
async def test_a_child_that_cannot_be_begun_now_is_begun_later(family: Family, reason: Reason) -> None:
    family.refusals = [ParadeError(reason, "not now"), ParadeError(reason, "not now")]

    parent, child = await family.begin()
    family.succeed(child)

    assert (await family.ended(parent)).state is RunState.SUCCEEDED
    assert family.asked == [child] * 3


async def test_a_child_whose_beginning_turns_out_not_to_be_stored_is_begun_anew(family: Family, monkeypatch: pytest.MonkeyPatch) -> None:
    led, was_written, request = family.led, family.led.store.was_written, family.led.journal.request
    is_asked_for, looks = asyncio.Event(), 0

    async def asked_for(run: str, occurrence: Occurrence | None, *, namespace: str) -> Whole | None:
        is_asked_for.set()
        return await request(run, occurrence, namespace=namespace)

    async def looked_for(change: Change) -> bool:
        nonlocal looks
        looks += 1
        if looks == 1:
            raise ParadeError(Reason.UNAVAILABLE, "the database is away")
        await is_asked_for.wait()
        return await was_written(change)

    family.held_up = asyncio.Event()
    whole = await led.begin(source=PARENT)
    assert whole is not None
    await led.until(lambda: family.asked)
    led.store.before = [OSError("the connection broke")]
    monkeypatch.setattr(led.store, "was_written", looked_for)
    monkeypatch.setattr(led.journal, "request", asked_for)
    family.held_up.set()

    await led.until(lambda: family.calls)
    family.succeed(family.asked[0])

    assert (await family.ended(whole[0].id)).state is RunState.SUCCEEDED
    assert looks == 2


async def test_a_child_that_cannot_be_begun_at_all_fails_its_task(family: Family) -> None:
    family.refusals = [ParadeError(Reason.NOT_FOUND, "there is no such workflow")]

    whole = await family.led.begin(source=PARENT)
    assert whole is not None
    run = await family.ended(whole[0].id)

    assert run.failure is not None
    assert run.failure.reason is Reason.NOT_FOUND


async def test_a_fault_of_ours_fails_the_task_and_nothing_else(family: Family) -> None:
    family.refusals = [RuntimeError("a fault")]

    whole = await family.led.begin(source=PARENT)
    assert whole is not None
    run = await family.ended(whole[0].id)

    assert run.failure is not None
    assert run.failure.reason is Reason.INTERNAL


async def test_nothing_is_begun_once_the_process_ends(family: Family) -> None:
    await family.children.end()

    await family.led.begin(source=PARENT)
    await family.led.written()

    assert family.asked == []


async def test_a_child_that_is_cancelled_before_it_begins_never_does(family: Family) -> None:
    family.held_up = asyncio.Event()
    whole = await family.led.begin(source=PARENT)
    assert whole is not None
    await family.led.until(lambda: family.asked)

    family.led.journal.report(whole[0].id, CancelRequested("enough"))

    assert (await family.ended(whole[0].id)).state is RunState.CANCELLED
    assert await family.led.store.run("default", family.asked[0]) is None


async def test_what_begins_again_in_memory_changes_nothing(family: Family) -> None:
    _, child = await family.begin()
    before = await family.led.store.events(child, 0, 100)
    run = Run(child, "default", "child", 1, Document(b"{}"), family.led.clock.now())

    assert await family.led.journal.start(Execution(read(CHILD), run), Started()) is None

    assert await family.led.store.events(child, 0, 100) == before
    assert family.led.journal.holds(child)


async def test_runs_start_each_other_only_so_deep(family: Family) -> None:
    led = family.led
    parent: Parent | None = None
    runs: list[Run] = []
    for number in range(MAX_DEPTH):
        run = Run(f"run-{number}-07", "default", "flow", 1, Document(b"{}"), led.clock.now(), parent=parent)
        await led.journal.start(Execution(read("name: flow\nsteps: {a: {wait: {signal: go}}}"), run), Started())
        parent = Parent(run.id, "a", 0, 1)
        runs.append(run)

    family.children.start(runs[-2], StartChild("a", 0, 1, "run-eighth-07", "child", Document(b"{}")))
    family.children.start(runs[-1], StartChild("a", 0, 1, "run-ninth-07", "child", Document(b"{}")))
    await led.until(lambda: family.calls)
    await led.written()

    assert family.asked == ["run-eighth-07"]
