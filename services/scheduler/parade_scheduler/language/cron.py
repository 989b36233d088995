"""When the next time of a cron expression is, in a time zone.

The five fields are those of cron (https://man7.org/linux/man-pages/man5/crontab.5.html), with names of months and days, `L` for the last
day and `5#2` for the second Friday. Where clocks are changed, a time at a fixed hour that does not exist that day becomes the next that
does, and one that exists twice is used once, the first time; what recurs every hour or more often goes on with time itself.
"""

from datetime import UTC, datetime
from functools import cache, lru_cache
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from cronsim import CronSim, CronSimError

MAX_LENGTH: Final = 200
"""The longest expression, in characters."""
FIELDS: Final = 5

_BEGINNING: Final = datetime(2024, 1, 1, tzinfo=UTC)
"""A time from which on an expression that has a time at all has one within fifty years."""


def next_time(cron: str, zone: str, after: datetime) -> datetime:
    """Returns the first time of an expression after another time.

    Args:
        cron: The expression.
        zone: An IANA name, where it is that time.
        after: A time with its zone.

    Returns:
        A time in UTC.

    Raises:
        ValueError: It is no such expression, there is no such zone, or it has no time within fifty years.
    """
    if found := fault(cron):
        raise ValueError(found)
    times = CronSim(_as_read(cron), after.astimezone(_zone(zone)))
    try:
        # Clocks that were put back show times again that have been; the second time they are not used.
        return next(time for time in (local.astimezone(UTC) for local in times) if time > after)
    except StopIteration as error:
        raise ValueError(f"`{cron}` never comes again") from error


@lru_cache(maxsize=1024)
def fault(cron: str) -> str:
    """Returns what is wrong with an expression; an empty text where nothing is."""
    if len(cron) > MAX_LENGTH:
        return f"a cron expression has at most {MAX_LENGTH} characters, this has {len(cron):,}"
    if len(cron.split()) != FIELDS:
        return f"a cron expression has {FIELDS} fields, `{cron[:60]}` has {len(cron.split())}"
    try:
        next(CronSim(_as_read(cron), _BEGINNING))
    except CronSimError as error:
        return f"`{cron[:60]}` is no cron expression: {str(error).lower()}"
    except StopIteration:
        return f"`{cron[:60]}` never comes"
    return ""


def is_zone(name: str) -> bool:
    """Tells whether there is a time zone of that name."""
    try:
        _zone(name)
    except ValueError:
        return False
    return True


@cache
def zones() -> frozenset[str]:
    """Returns the names of all time zones."""
    return frozenset(available_timezones())


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"there is no time zone `{name[:60]}`") from error


def _as_read(cron: str) -> str:
    """Returns an expression as the library is to read it.

    It sees to changed clocks only where neither minute nor hour begins with a star; which minutes of a fixed hour are meant is to make no
    difference.
    """
    minute, hour, *rest = cron.split()
    if minute.startswith("*") and not hour.startswith("*"):
        minute = f"0-59{minute[1:]}"
    return " ".join([minute, hour, *rest])
