"""What stands where the event loop would be while a durable function runs: whoever wants to wait there is told that it cannot."""

import asyncio
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from parade.durable.errors import ForeignWaitError


def foreign(place: str) -> ForeignWaitError:
    """Makes the error for a wait that is not the context's; `place` is where it stands."""
    return ForeignWaitError(
        f"{place}: a durable function waits only for what its context gives, because after a crash nothing else can be waited for again; "
        "use ctx.sleep, ctx.call, ctx.gather and the like, and put everything else into a function that it calls"
    )


class NoLoop:
    """Refuses everything that an event loop does."""

    def __init__(self, file: str, refuse: Callable[[ForeignWaitError], None]) -> None:
        """Takes the file of the function that runs, and who is to know what it tried."""
        self._file = file
        self._refuse = refuse

    def __getattr__(self, name: str) -> Any:
        """Refuses."""
        frame = innermost = sys._getframe(1)  # noqa: SLF001  # the one way to the line without the cost of a whole stack
        while frame.f_code.co_filename != self._file and frame.f_back is not None:
            frame = frame.f_back
        if frame.f_code.co_filename != self._file:
            frame = innermost
        error = foreign(_place(frame.f_code.co_filename, frame.f_lineno))
        self._refuse(error)
        raise error


@contextmanager
def without_loop(file: str, refuse: Callable[[ForeignWaitError], None]) -> Iterator[None]:
    """Lets nothing in the block reach the event loop that runs it."""
    running = asyncio._get_running_loop()  # noqa: SLF001  # documented for those who write event loops
    asyncio._set_running_loop(NoLoop(file, refuse))  # type: ignore[arg-type]  # noqa: SLF001  # it stands in for one
    try:
        yield
    finally:
        asyncio._set_running_loop(running)  # noqa: SLF001


def place_of(coroutine: Any, file: str) -> str:
    """Returns where a coroutine waits: the innermost line of a file, or else where it began to wait."""
    place = ""
    while coroutine is not None:
        frame = getattr(coroutine, "cr_frame", None) or getattr(coroutine, "gi_frame", None) or getattr(coroutine, "ag_frame", None)
        if frame is not None and (not place or frame.f_code.co_filename == file):
            place = _place(frame.f_code.co_filename, frame.f_lineno)
        coroutine = getattr(coroutine, "cr_await", None) or getattr(coroutine, "gi_yieldfrom", None) or getattr(coroutine, "ag_await", None)
    return place


def _place(file: str, line: int) -> str:
    return f"{Path(file).name}, line {line}"
