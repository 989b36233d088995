import asyncio
import inspect
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from parade import artifact, client, run, started_call, sync

TWINS = [
    (sync.Mesh, client.Mesh),
    (sync.Run, run.Run),
    (sync.StartedCall, started_call.StartedCall),
    (sync.Artifact, artifact.Artifact),
]


def public_methods(kind: type) -> dict[str, Callable[..., Any]]:
    return {name: method for name, method in inspect.getmembers(kind, inspect.isfunction) if not name.startswith("_")}


@pytest.mark.parametrize(("blocking", "asynchronous"), TWINS)
def test_every_public_method_has_a_blocking_twin(blocking: type, asynchronous: type) -> None:
    twins, originals = public_methods(blocking), public_methods(asynchronous)

    assert twins.keys() == originals.keys()
    for name, original in originals.items():
        assert inspect.signature(twins[name]) == inspect.signature(original)
        assert twins[name].__doc__ == original.__doc__
        assert not inspect.iscoroutinefunction(twins[name])
        assert not inspect.isasyncgenfunction(twins[name])


@pytest.mark.parametrize(
    ("blocking", "asynchronous", "names"),
    [
        (sync.Mesh, client.Mesh, {"file"}),
        (sync.Run, run.Run, {"id"}),
        (sync.StartedCall, started_call.StartedCall, {"id"}),
        (sync.Artifact, artifact.Artifact, {"digest", "size", "media_type"}),
    ],
)
def test_public_attributes_are_there_too(blocking: type, asynchronous: type, names: set[str]) -> None:
    made = inspect.getsource(asynchronous.__init__)  # type: ignore[misc]

    assert {name for name in names if f"self.{name} = " in made} == names
    assert all(isinstance(inspect.getattr_static(blocking, name), property) for name in names)


class Counter:
    """Something that lives in an event loop."""

    def __init__(self) -> None:
        self.closed_in: list[threading.Thread] = []

    async def double(self, number: int) -> int:
        await asyncio.sleep(0)
        return number * 2

    async def fail(self) -> None:
        raise ValueError("no")

    async def count(self, end: int) -> AsyncIterator[int]:
        try:
            for number in range(end):
                yield number
        finally:
            self.closed_in.append(threading.current_thread())

    async def wait_for_ever(self) -> None:
        await asyncio.Event().wait()


class BlockingCounter(sync._Blocking[Counter]):
    double = sync._blocking(Counter.double)
    fail = sync._blocking(Counter.fail)
    count = sync._blocking(Counter.count)
    wait_for_ever = sync._blocking(Counter.wait_for_ever)


def test_results_and_errors_come_out_as_they_are() -> None:
    with sync._Loop() as loop:
        counter = BlockingCounter(Counter(), loop)

        assert counter.double(21) == 42
        with pytest.raises(ValueError, match="no"):
            counter.fail()


def test_an_iterator_that_is_left_early_is_closed_in_the_loop() -> None:
    inner = Counter()
    with sync._Loop() as loop:
        counter = BlockingCounter(inner, loop)

        assert list(counter.count(3)) == [0, 1, 2]
        for number in counter.count(1000):
            if number == 2:
                break

        assert [thread.name for thread in inner.closed_in] == ["parade-sync", "parade-sync"]


def test_after_the_block_a_call_is_refused_and_an_iterator_ends_quietly() -> None:
    with sync._Loop() as loop:
        counter = BlockingCounter(Counter(), loop)
        numbers = counter.count(3)
        next(numbers)

    with pytest.raises(RuntimeError, match="its block has ended"):
        counter.double(1)
    numbers.close()  # type: ignore[attr-defined]


def test_a_wait_in_another_thread_ends_with_the_block() -> None:
    ended = threading.Event()

    def wait(counter: BlockingCounter) -> None:
        try:
            counter.wait_for_ever()
        except BaseException:  # noqa: BLE001  # how it ends is not the question, that it ends is
            ended.set()

    with sync._Loop() as loop:
        thread = threading.Thread(target=wait, args=(BlockingCounter(Counter(), loop),))
        thread.start()

    assert ended.wait(5)
    thread.join(5)


def test_one_connection_serves_many_threads() -> None:
    results: list[int] = []
    with sync._Loop() as loop:
        counter = BlockingCounter(Counter(), loop)
        threads = [threading.Thread(target=lambda number=number: results.append(counter.double(number))) for number in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(5)

    assert sorted(results) == list(range(0, 40, 2))
