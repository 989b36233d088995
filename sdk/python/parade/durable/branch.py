"""The branches along which a durable function goes on side by side, and what they wait for: in the same order every time."""

import asyncio
import contextvars
from collections import deque
from collections.abc import Awaitable, Callable, Generator, Iterable
from contextlib import suppress
from types import CoroutineType
from typing import Any, Generic, TypeVar

from parade.durable.no_loop import foreign, place_of

ResultT = TypeVar("ResultT")


class Pending(Generic[ResultT]):
    """Something that a branch can wait for."""

    __slots__ = ("_error", "_value", "abandoned", "branch", "done")

    def __init__(self, abandoned: Callable[[], None] | None = None) -> None:
        """Takes what is called where nobody waits for it any more."""
        self.abandoned = abandoned
        self.branch: Branch | None = None
        """Who waits for it."""
        self.done = False
        self._value: Any = None
        self._error: BaseException | None = None

    def end(self, value: Any = None, error: BaseException | None = None) -> None:
        """Lets who waits for it go on."""
        self.done, self._value, self._error = True, value, error
        if self.branch is not None:
            self.branch.wake()

    def __await__(self) -> Generator[Any, None, ResultT]:
        """Waits for it."""
        if not self.done:
            yield self
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[no-any-return]


class Branch:
    """One coroutine as it goes on."""

    __slots__ = ("_branches", "_context", "_coroutine", "_thrown", "_waits_for", "error", "over", "told", "value")

    def __init__(self, branches: "Branches", awaitable: Awaitable[Any], told: "Callable[[Branch], None] | None" = None) -> None:
        """Takes what it runs, and who is told when it has ended. It begins with the next run of all branches."""
        self._branches = branches
        self._coroutine: Any = awaitable if type(awaitable) is CoroutineType else _awaited(awaitable)
        self._context = contextvars.copy_context()
        self._waits_for: Pending[Any] | None = None
        self._thrown: BaseException | None = None
        self.told = told
        self.over = False
        self.value: Any = None
        self.error: BaseException | None = None
        branches.add(self)

    def wake(self) -> None:
        """Lets it go on with the next run."""
        self._waits_for = None
        self._branches.ready.append(self)

    def cancel(self) -> None:
        """Ends it where it waits, as asyncio ends a task."""
        if self.over or self._thrown is not None:
            return
        self._thrown = asyncio.CancelledError()
        waits_for = self._waits_for
        if waits_for is not None:
            waits_for.branch = None
            if waits_for.abandoned is not None:
                waits_for.abandoned()
            self.wake()

    def step(self) -> None:
        """Runs it until it waits again or ends."""
        thrown, self._thrown = self._thrown, None
        try:
            if thrown is not None:
                waited = self._context.run(self._coroutine.throw, thrown)
            else:
                waited = self._context.run(self._coroutine.send, None)
        except StopIteration as stop:
            self._end(stop.value, None)
        except (Exception, asyncio.CancelledError, SystemExit) as error:  # noqa: BLE001  # the author's code may raise anything
            self._end(None, error)
        else:
            if type(waited) is Pending:
                self._waits_for = waited
                waited.branch = self
            else:
                self._branches.fault = foreign(place_of(self._coroutine, self._branches.file))

    def close(self) -> None:
        """Ends it without a word."""
        self.over = True
        with suppress(Exception):  # what the author's code does when it is thrown away is of no account
            self._context.run(self._coroutine.close)

    def _end(self, value: Any, error: BaseException | None) -> None:
        self.over, self.value, self.error = True, value, error
        self._branches.open.pop(self, None)
        if self.told is not None:
            self.told(self)


class Branches:
    """All branches of one function.

    Attributes:
        file: Where the function is written.
        ready: Those that can go on, in the order in which they became so.
        open: Those that have not ended, the oldest first.
        fault: Why none of them may go on: the function broke the rules, whether or not it caught the error.
    """

    __slots__ = ("fault", "file", "open", "ready")

    def __init__(self, file: str) -> None:
        """Starts with none."""
        self.file = file
        self.ready: deque[Branch] = deque()
        self.open: dict[Branch, None] = {}
        self.fault: Exception | None = None

    def add(self, branch: Branch) -> None:
        """Takes a branch that is to begin."""
        self.open[branch] = None
        self.ready.append(branch)

    def run(self) -> None:
        """Runs all branches until every one waits.

        Raises:
            Exception: The function broke the rules.
        """
        while self.ready and self.fault is None:
            self.ready.popleft().step()
        if self.fault is not None:
            raise self.fault

    def close(self) -> None:
        """Ends all branches without a word, the newest first."""
        self.ready.clear()
        for branch in reversed(list(self.open)):
            branch.close()
        self.open.clear()


class Group:
    """Branches that are waited for together. None of them outlives the wait."""

    def __init__(self, branches: Branches, awaitables: Iterable[Awaitable[Any]], decides: Callable[[Branch], bool]) -> None:
        """Begins the branches; the first to end of which `decides` is true ends the wait, and the others with it."""
        self._decides = decides
        self._pending: Pending[None] = Pending()
        self._stopping = False
        self.first: Branch | None = None
        """The one that decided."""
        self.failed: Branch | None = None
        """The first that failed."""
        self.members = [Branch(branches, awaitable, self._ended) for awaitable in awaitables]
        self._open = len(self.members)

    async def settle(self) -> None:
        """Waits until all have ended."""
        cancelled: asyncio.CancelledError | None = None
        while self._open:
            self._pending = Pending()
            try:
                await self._pending
            except asyncio.CancelledError as error:
                cancelled = error
            self._stopping = True
            for member in self.members:
                member.cancel()
        if cancelled is not None:
            raise cancelled

    def _ended(self, branch: Branch) -> None:
        self._open -= 1
        if self.failed is None and branch.error is not None:
            self.failed = branch
        decided = self.first is None and not self._stopping and self._decides(branch)
        if decided:
            self.first = branch
        if (decided or self._open == 0) and not self._pending.done:
            self._pending.end()


async def _awaited(awaitable: Awaitable[Any]) -> Any:
    return await awaitable
