"""What a durable function can do: everything that it waits for, and everything that would otherwise differ when it is run again."""

import math
import random
import uuid
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from parade.durable.ask import Kind
from parade.durable.branch import Branch, Branches, Group, Pending
from parade.durable.replay_log import ReplayLog
from parade.wire.errors import Violation, invalid
from parade.wire.log import Log

if TYPE_CHECKING:
    from parade.workflow_words import Retry

ResultT = TypeVar("ResultT")

LONGEST = 366 * 86400.0
"""Seconds that anything may be waited for."""


class Plays(Protocol):
    """Who runs the function; `parade.durable.execution.Execution` is one."""

    run_id: str
    random: random.Random
    replaying: bool
    branches: Branches

    def ask(self, kind: Kind, name: str, words: Mapping[str, Any]) -> Pending[Any]:
        """Asks for something."""
        ...

    def new_id(self) -> uuid.UUID:
        """Makes an id."""
        ...

    def now(self) -> datetime:
        """Returns the function's time."""
        ...

    def make_log(self) -> Log:
        """Makes the function's log."""
        ...


@dataclass(frozen=True, slots=True)
class Approval:
    """What was approved."""

    by: str
    """Who did: a SPIFFE id."""
    note: str
    """What they said."""


@dataclass(frozen=True, slots=True)
class Winner:
    """What came first in a race."""

    index: int
    """Its place among those that raced, counted from 0."""
    value: Any
    """What it gave."""


class WorkflowContext:
    """One run, seen from inside a durable function, which takes it as a parameter of this type.

    The function is run again from its first line whenever that is needed, and everything that it has awaited before is returned at once.
    So it waits for nothing but what is here, takes the time, chance and ids from here, and does everything else in functions that it calls.
    """

    def __init__(self, execution: Plays) -> None:
        """Takes who runs the function; agents make a context for every run."""
        self._execution = execution
        self._log: ReplayLog | None = None

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self._execution.run_id

    @property
    def log(self) -> Log:
        """The log, silent while the function does again what it has done before."""
        if self._log is None:
            self._log = ReplayLog(self._execution.make_log(), lambda: self._execution.replaying)
        return self._log

    def now(self) -> datetime:
        """Returns the time, in UTC: when the last thing came that the function has waited for, or the run began."""
        return self._execution.now()

    def random(self) -> random.Random:
        """Returns a source of chance that is the same whenever this run is run again."""
        return self._execution.random

    def uuid(self) -> uuid.UUID:
        """Makes an id that is the same whenever this run is run again."""
        return self._execution.new_id()

    async def call(
        self,
        function: str,
        arguments: Mapping[str, Any] | None = None,
        /,
        *,
        timeout: float | timedelta | None = None,
        retry: "Retry | None" = None,
        **named: Any,
    ) -> Any:
        """Calls a function of the mesh and returns its result.

        Args:
            function: Its full name, `agent.function`.
            arguments: Its arguments by name; for names that are taken here, as `timeout`.
            timeout: Seconds that one attempt may take, with all waiting for an instance; where not given, as long as the function may, and
                ten minutes for an agent that is away.
            retry: How often and when it is tried again after it failed; never where not given.
            named: More arguments.

        Raises:
            ParadeError: With the reason why there is no result.
        """
        words = {"arguments": {**(arguments or {}), **named}, **_limits(timeout, retry)}
        return await self._execution.ask(Kind.CALL, function, words)

    async def run(
        self,
        workflow: str,
        inputs: Mapping[str, Any] | None = None,
        /,
        *,
        timeout: float | timedelta | None = None,
        retry: "Retry | None" = None,
        **named: Any,
    ) -> Any:
        """Starts a run of another workflow, waits for its end and returns its outputs.

        Args:
            workflow: Its name, or the full name of a durable function.
            inputs: Its inputs by name; for names that are taken here.
            timeout: Seconds that it may take.
            retry: How often and when another run is started after one failed; never where not given.
            named: More inputs.

        Raises:
            ParadeError: Why it failed.
        """
        words = {"arguments": {**(inputs or {}), **named}, **_limits(timeout, retry)}
        return await self._execution.ask(Kind.RUN, workflow, words)

    async def sleep(self, duration: float | timedelta) -> None:
        """Waits for so many seconds, which may be months: the run takes no memory meanwhile."""
        await self._execution.ask(Kind.TIMER, "", {"seconds": _seconds(duration, "duration")})

    async def wait_signal(self, name: str, *, timeout: float | timedelta | None = None) -> Any:
        """Waits until the run is sent a signal of that name, and returns its value. One that came before is taken at once.

        Args:
            name: The signal's name.
            timeout: Seconds to wait at most; for ever where not given.

        Raises:
            ParadeError: DEADLINE_EXCEEDED.
        """
        return await self._execution.ask(Kind.SIGNAL, name, _limits(timeout))

    async def wait_approval(
        self, message: str = "", *, approvers: Sequence[str] = (), timeout: float | timedelta | None = None
    ) -> Approval:
        """Waits until somebody approves.

        Args:
            message: What they are asked.
            approvers: Who may: SPIFFE ids, in which a `*` stands for any text without `/`; anybody who may call where none is given.
            timeout: Seconds to wait at most; for ever where not given.

        Raises:
            ParadeError: FAILED_PRECONDITION where it was rejected, with who did and the note; DEADLINE_EXCEEDED.
        """
        words = {"message": message, "approvers": list(approvers), **_limits(timeout)}
        given = await self._execution.ask(Kind.APPROVAL, "", words) or {}
        return Approval(given.get("by", ""), given.get("note", ""))

    async def gather(self, *awaitables: Awaitable[ResultT]) -> list[ResultT]:
        """Waits for all of them at once and returns what they gave, in their order.

        The first to fail ends the others, where they wait, and is raised once they have ended.
        """
        group = Group(self._execution.branches, awaitables, _has_failed)
        await group.settle()
        if group.failed is not None and group.failed.error is not None:
            raise group.failed.error
        return [member.value for member in group.members]

    async def race(self, *awaitables: Awaitable[Any]) -> Winner:
        """Waits for the first of them that succeeds, ends the others where they wait, and returns which it was and what it gave.

        Where all fail, the first failure is raised.

        Raises:
            ValueError: There is nothing to wait for.
        """
        if not awaitables:
            raise ValueError("a race needs somebody who takes part")
        group = Group(self._execution.branches, awaitables, _has_succeeded)
        await group.settle()
        if group.first is not None:
            return Winner(group.members.index(group.first), group.first.value)
        assert group.failed is not None  # noqa: S101  # all have ended, none of them well
        assert group.failed.error is not None  # noqa: S101  # it is what failing is
        raise group.failed.error


def _has_failed(branch: Branch) -> bool:
    return branch.error is not None


def _has_succeeded(branch: Branch) -> bool:
    return branch.error is None


def _limits(timeout: float | timedelta | None, retry: "Retry | None" = None) -> dict[str, Any]:
    words: dict[str, Any] = {}
    if timeout is not None:
        words["timeout"] = _seconds(timeout, "timeout")
    if retry is not None:
        words["retry"] = retry.to_document()
    return words


def _seconds(duration: Any, name: str) -> float:
    seconds = duration.total_seconds() if isinstance(duration, timedelta) else duration
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not math.isfinite(seconds) or seconds > LONGEST:
        raise invalid([Violation(name, f"is {duration!r}; it must be a number of seconds, at most {LONGEST:,.0f}")])
    return max(0.0, float(seconds))
