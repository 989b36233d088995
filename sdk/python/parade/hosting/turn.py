"""The task in which functions take their first steps: one for all calls of a turn of the loop, since most end there and need none.

A function sees its task from its first line on, as `asyncio.timeout` and `TaskGroup` do. The first one that has to wait keeps the task,
and so does one that has left something behind in it; the next call has another.

How a task is made the current one: https://docs.python.org/3/library/asyncio-extending.html
"""

import asyncio
import contextvars
import sys
from asyncio.tasks import _enter_task, _leave_task
from collections.abc import Callable, Coroutine, Generator
from types import CoroutineType
from typing import Any, Protocol

WAITS: Any = object()
"""What a first step returns that has not ended its function."""
_NOTHING: Any = object()


class Runs(Protocol):
    """Whose function keeps the task."""

    def returned(self, value: Any) -> None:
        """Takes what the function returned."""
        ...

    def raised(self, error: BaseException) -> None:
        """Takes what the function raised."""
        ...

    def left(self) -> None:
        """Takes note that the function has ended."""
        ...


class Turn(Coroutine[Any, Any, None]):
    """What the task runs: nothing, unless a function keeps it; then what is left of that function."""

    __slots__ = ("_context", "_coroutine", "_loop", "_pristine", "_references", "_waited", "_work", "over", "task")

    def __init__(self, loop: asyncio.AbstractEventLoop, context: contextvars.Context | None = None) -> None:
        """Makes a task, in a context of its own: the one that is given, or a copy of what is current."""
        self._loop = loop
        self._context = contextvars.copy_context() if context is None else context
        self._pristine = self._context.copy()
        self._work: Runs | None = None
        self._coroutine: Coroutine[Any, Any, Any] | None = None
        self._waited = _NOTHING
        self.over = False
        """Whether it takes no first step now."""
        self.task: asyncio.Task[None] = loop.create_task(self, context=self._context)
        self._references = sys.getrefcount(self.task)

    def first_step(self, handler: Callable[..., Any], arguments: dict[str, Any]) -> Any:
        """Calls a coroutine function, runs it until it ends or has to wait, and returns its value, or `WAITS`: then `keep` follows."""
        self.over = True
        coroutine = handler(**arguments)
        if type(coroutine) is not CoroutineType:
            coroutine = _awaited(coroutine)
        loop = self._loop
        running = asyncio.current_task(loop)
        if running is not None:
            _leave_task(loop, running)
        _enter_task(loop, self.task)
        try:
            self._waited = self._context.run(coroutine.send, None)
        except StopIteration as stop:
            value = stop.value
        else:
            self._coroutine = coroutine
            return WAITS
        finally:
            _leave_task(loop, self.task)
            if running is not None:
                _enter_task(loop, running)
        self._look()
        return value

    def _look(self) -> None:
        """Lets others use the task after a function has ended, where that one has left it as it was and nobody holds it."""
        try:
            if self._context == self._pristine and sys.getrefcount(self.task) == self._references and not self.task.cancelling():
                self.over = False
        except Exception:  # noqa: BLE001, S110  # values in a context may be of types that cannot be compared
            pass

    def keep(self, work: Runs, name: str) -> None:
        """Gives the task to the function that waits."""
        self._work = work
        self.task.set_name(name)

    # ------------------------------------------------------------------------------------------- what the task asks for

    def send(self, value: None) -> Any:
        """Goes on, after the first step."""
        self.over = True
        work, coroutine = self._work, self._coroutine
        if work is None or coroutine is None:
            del self.task
            raise StopIteration
        if self._waited is not _NOTHING:
            waited, self._waited = self._waited, _NOTHING
            return waited
        return self._resume(work, coroutine.send, value)

    def throw(self, *error: Any) -> Any:
        """Raises in the function what its task was told to."""
        self.over = True
        work, coroutine = self._work, self._coroutine
        if work is None or coroutine is None:
            del self.task
            raise error[0]
        waited, self._waited = self._waited, _NOTHING
        if asyncio.isfuture(waited) and waited.cancel():
            return waited  # the task was cancelled before it knew what to wait for; that is cancelled first, as asyncio does
        return self._resume(work, coroutine.throw, *error)

    def close(self) -> None:
        """Ends the function with the loop."""
        if self._coroutine is not None:
            self._coroutine.close()

    def __await__(self) -> Generator[Any, Any, None]:
        """Is not awaited: a task runs it."""
        raise NotImplementedError

    def _resume(self, work: Runs, resume: Any, *given: Any) -> Any:
        try:
            return resume(*given)
        except StopIteration as stop:
            work.returned(stop.value)
        except (Exception, SystemExit, asyncio.CancelledError) as error:  # noqa: BLE001  # the author's code may raise anything
            work.raised(error)
        except BaseException:
            work.left()
            raise
        work.left()
        self._work = self._coroutine = None
        del self.task
        raise StopIteration


async def _awaited(awaitable: Any) -> Any:
    return await awaitable
