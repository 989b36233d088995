"""The times that the tasks of a run wait for, the soonest first, so that to find it costs no look at every task."""

from collections.abc import Mapping
from datetime import datetime
from heapq import heappop, heappush

from parade_scheduler.model import Task, TaskState

_WAITS = frozenset({TaskState.WAITING, TaskState.RETRYING})


class Alarms:
    """The times of a run's tasks. One that is no longer waited for is dropped when it has become the soonest."""

    def __init__(self) -> None:
        """Starts without any."""
        self._times: list[tuple[datetime, str, int]] = []

    def add(self, task: Task) -> None:
        """Adds the time that a task waits for, where it does."""
        time = _time(task)
        if time is not None:
            heappush(self._times, (time, task.step, task.index))

    def soonest(self, tasks: Mapping[str, Mapping[int, Task]]) -> datetime | None:
        """Returns the soonest time that one of the tasks waits for; None where none does."""
        times = self._times
        while times:
            time, step, index = times[0]
            if _time(tasks[step][index]) == time:
                return time
            heappop(times)
        return None

    def __eq__(self, other: object) -> bool:
        """Compares nothing: the same tasks wait for the same times, whatever was waited for before."""
        return isinstance(other, Alarms)

    __hash__ = None  # type: ignore[assignment]  # it changes


def _time(task: Task) -> datetime | None:
    return (task.retry_time or task.due) if task.state in _WAITS else None
