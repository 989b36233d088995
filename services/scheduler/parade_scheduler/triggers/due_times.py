"""For which times a schedule starts runs, and when its time comes next. Pure."""

from collections import deque
from datetime import datetime, timedelta
from typing import Final

from parade_scheduler.language import cron
from parade_scheduler.schedule import CatchUp, Schedule

MAX_CAUGHT_UP: Final = 100
"""For how many of the times that were missed runs are started; the newest count."""
ON_TIME: Final = timedelta(seconds=60)
"""A time that came so lately has not been missed: somebody was about to see to it."""

_FIRST_WINDOW: Final = timedelta(minutes=2)
_WINDOW_GROWTH: Final = 4
_SMALLEST: Final = timedelta(microseconds=1)


def next_time(schedule: Schedule, after: datetime) -> datetime | None:
    """Returns when a schedule's time comes after another time; None where it rests or no such time comes."""
    if schedule.paused:
        return None
    try:
        return cron.next_time(schedule.cron, schedule.time_zone, after)
    except ValueError:
        return None


def times_to_start(schedule: Schedule, now: datetime) -> list[datetime]:
    """Returns the times for which a schedule whose time has come starts runs now, in their order.

    Args:
        schedule: The schedule; its `next_time` is the first that no run was started for.
        now: The time.
    """
    first = schedule.next_time
    if first is None or first > now:
        return []
    match schedule.catch_up:
        case CatchUp.ALL:
            return _newest(schedule, first, now, MAX_CAUGHT_UP)
        case CatchUp.LAST:
            return _newest(schedule, first, now, 1)
        case CatchUp.NONE:
            return [time for time in _newest(schedule, first, now, 1) if now - time < ON_TIME]


def _newest(schedule: Schedule, first: datetime, now: datetime, count: int) -> list[datetime]:
    """Returns the newest times, at most `count`, of those from `first` until now.

    It looks back over longer and longer spans: a minutely schedule that has rested for years is not gone through from its beginning.
    """
    window = _FIRST_WINDOW
    while True:
        begin = max(first, now - window)
        # The first counts as it was noted, whatever is known of time zones by now.
        newest: deque[datetime] = deque([first] if begin == first else [], maxlen=count)
        time = next_time(schedule, begin if begin == first else begin - _SMALLEST)
        while time is not None and time <= now:
            newest.append(time)
            time = next_time(schedule, time)
        if len(newest) == count or begin == first:
            return list(newest)
        window *= _WINDOW_GROWTH
