"""What can be done with runs beside starting, watching and cancelling one: pause, signal, approve, repeat, branch off, many at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from parade.wire.errors import ParadeError, Reason
from parade_scheduler.approval import Approval, ApprovalFilter, Resolution
from parade_scheduler.document import Document
from parade_scheduler.engine import Caller, Engine
from parade_scheduler.model import Run, Step
from parade_scheduler.store import RunFilter, Store

MAX_RUNS: Final = 1_000
"""How many runs one request for many takes."""


@dataclass(frozen=True, slots=True)
class Signal:
    """A signal that somebody sends."""

    name: str
    value: Document
    request_id: str = ""
    """Names the request, so that a retry is known."""


@dataclass(frozen=True, slots=True)
class Rerun:
    """How a run is to be repeated."""

    run: str
    step: str
    """The first step that runs again; empty for all."""
    inputs: Mapping[str, Any]
    """Those that replace the earlier run's."""
    request_id: str = ""
    version: int = 0
    """The version of the workflow; the earlier run's where 0."""


@dataclass(frozen=True, slots=True)
class Fork:
    """Where a run is to branch off."""

    run: str
    after_sequence: int
    """The last event that the two have in common."""
    inputs: Mapping[str, Any]
    """Those that replace the earlier run's."""
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one of many runs."""

    run: str
    error: ParadeError | None = None
    """Why nothing came of it."""
    new_run: str = ""
    """The run that was started in its place."""


Whole = tuple[Run, Sequence[Step]]
"""A run with its steps."""


class Operations:
    """Does them."""

    def __init__(self, engine: Engine, store: Store) -> None:
        """Takes what runs are asked of, and where they are kept."""
        self._engine = engine
        self._store = store

    async def pause(self, caller: Caller, run: str, reason: str) -> Whole:
        """Lets nothing more begin in a run, and returns it once that is stored.

        Raises:
            ParadeError: NOT_FOUND; FAILED_PRECONDITION, where it has ended, is ending or has not begun.
        """
        raise _missing()

    async def resume(self, caller: Caller, run: str) -> Whole:
        """Lets a paused run go on, and returns it once that is stored.

        Raises:
            ParadeError: NOT_FOUND; FAILED_PRECONDITION, where it has ended or is ending.
        """
        raise _missing()

    async def signal(self, caller: Caller, run: str, signal: Signal) -> Whole:
        """Sends a run a signal, and returns the run once that is stored.

        Raises:
            ParadeError: NOT_FOUND; FAILED_PRECONDITION, where it has ended or is ending; INVALID_ARGUMENTS, where the value does not fit
                the step that waits for it; NO_CAPACITY, where too many signals are kept.
        """
        raise _missing()

    async def approvals(self, wanted: ApprovalFilter, page_size: int, page_token: str) -> tuple[list[Approval], str]:
        """Returns a page of approvals, the oldest first, and the token of the next.

        Raises:
            ParadeError: INVALID_ARGUMENTS, where the page token is bad.
        """
        raise _missing()

    async def resolve(self, caller: Caller, resolution: Resolution) -> Whole:
        """Approves or rejects what a task waits for, and returns the run once that is stored.

        Raises:
            ParadeError: NOT_FOUND; PERMISSION_DENIED, where the caller is none of the approvers; FAILED_PRECONDITION, where it was resolved
                otherwise or nobody waits for it any more.
        """
        raise _missing()

    async def rerun(self, caller: Caller, rerun: Rerun) -> Whole:
        """Starts a run that repeats an earlier one from a step on, and returns it once it is stored.

        Raises:
            ParadeError: NOT_FOUND (the run or the step); FAILED_PRECONDITION; INVALID_ARGUMENTS (the inputs).
        """
        raise _missing()

    async def fork(self, caller: Caller, fork: Fork) -> Whole:
        """Starts a run that is as another one was after an event, and returns it once it is stored.

        Raises:
            ParadeError: NOT_FOUND (the run or the event); INVALID_ARGUMENTS (the inputs).
        """
        raise _missing()

    async def cancel_runs(self, caller: Caller, wanted: RunFilter, reason: str, *, dry_run: bool) -> tuple[list[Outcome], bool]:
        """Cancels the newest runs of a filter that have not ended, and tells what became of each, and whether there are more."""
        raise _missing()

    async def rerun_runs(self, caller: Caller, wanted: RunFilter, request_id: str, *, dry_run: bool) -> tuple[list[Outcome], bool]:
        """Starts the newest runs of a filter that have ended again, and tells what became of each, and whether there are more."""
        raise _missing()


def _missing() -> ParadeError:
    return ParadeError(Reason.INTERNAL, "this scheduler cannot do that yet")
