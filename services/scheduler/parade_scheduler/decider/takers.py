"""Signals that nothing has taken yet, and the tasks that wait for signals and events."""

from collections import deque
from collections.abc import Mapping
from typing import Final

from parade_scheduler.model import Kind, Step, Task, TaskState

MAX_SIGNALS: Final = 1_000
"""How many signals a run keeps that nothing has taken; more are refused."""
SIGNALS: Final = ""
"""The step of the tasks that signals are kept as."""


class Signals:
    """The signals of a run that nothing has taken yet, by name, each in the order of their arrival.

    Attributes:
        count: How many were ever kept: the index of the next.
        requests: What the requests were named of which any signal came.
    """

    def __init__(self) -> None:
        """Starts without any."""
        self.count = 0
        self.requests: set[str] = set()
        self._kept: dict[str, deque[Task]] = {}

    def keep(self, signal: Task) -> None:
        """Adds the newest."""
        self.count = signal.index + 1
        self.note_request(signal.request_id)
        self._kept.setdefault(signal.name, deque()).append(signal)

    def note_request(self, request_id: str) -> None:
        """Notes that a signal came with a request, where that is named."""
        if request_id:
            self.requests.add(request_id)

    def restore(self, signal: Task) -> None:
        """Adds the row of a signal; those that were taken only count."""
        if signal.state is TaskState.WAITING:
            self.keep(signal)
        self.count = signal.index + 1
        self.note_request(signal.request_id)

    def take(self, name: str) -> Task | None:
        """Removes and returns the oldest of a name; None where there is none."""
        kept = self._kept.get(name)
        if kept is None:
            return None
        signal = kept.popleft()
        if not kept:
            del self._kept[name]
        return signal

    def __len__(self) -> int:
        """Returns how many are kept."""
        return sum(map(len, self._kept.values()))

    def __eq__(self, other: object) -> bool:
        """Compares what is kept."""
        return isinstance(other, Signals) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]  # it changes


class Takers:
    """The tasks that wait for a signal or an event, by its name."""

    def __init__(self) -> None:
        """Starts without any."""
        self._tasks: dict[tuple[Kind, str], dict[str, dict[int, None]]] = {}

    def add(self, task: Task) -> None:
        """Adds a task that waits. Those of one step are added by rising index."""
        self._tasks.setdefault((task.kind, task.name), {}).setdefault(task.step, {})[task.index] = None

    def remove(self, task: Task) -> None:
        """Removes a task that waits no more."""
        key = (task.kind, task.name)
        steps = self._tasks[key]
        del steps[task.step][task.index]
        if not steps[task.step]:
            del steps[task.step]
        if not steps:
            del self._tasks[key]

    def waiting(self, kind: Kind, name: str) -> dict[str, list[int]]:
        """Returns the indices of the tasks that wait for this, rising, by their steps in no order."""
        return {step: list(tasks) for step, tasks in self._tasks.get((kind, name), {}).items()}

    def first(self, kind: Kind, name: str, steps: Mapping[str, Step]) -> tuple[str, int] | None:
        """Returns the first task that waits for this, by the places of the steps and its own; None where there is none."""
        found = self._tasks.get((kind, name))
        if not found:
            return None
        step = min(found, key=lambda step: steps[step].position)
        return step, next(iter(found[step]))

    def __eq__(self, other: object) -> bool:
        """Compares who waits for what."""
        return isinstance(other, Takers) and self._tasks == other._tasks

    __hash__ = None  # type: ignore[assignment]  # it changes
