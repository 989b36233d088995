"""For which times a schedule starts runs: none is forgotten, none is made up, and clocks that are changed do no harm."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from time import process_time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parade_scheduler.language import cron
from parade_scheduler.schedule import CatchUp, Schedule
from parade_scheduler.triggers.due_times import MAX_CAUGHT_UP, ON_TIME, next_time, times_to_start

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
MINUTELY = Schedule("often", "flow", "* * * * *", next_time=NOON)


def at(hour: int, minute: int, second: int = 0) -> datetime:
    return datetime(2026, 3, 10, hour, minute, second, tzinfo=UTC)


def test_nothing_is_started_before_the_time() -> None:
    assert times_to_start(MINUTELY, NOON - timedelta(seconds=1)) == []


def test_a_paused_schedule_has_no_next_time() -> None:
    assert next_time(replace(MINUTELY, paused=True), NOON) is None


def test_an_expression_whose_times_are_over_has_no_next_time() -> None:
    assert next_time(replace(MINUTELY, cron="0 0 30 2 *"), NOON) is None


@pytest.mark.parametrize("catch_up", CatchUp)
def test_a_time_that_comes_just_now_is_started_whatever_becomes_of_missed_ones(catch_up: CatchUp) -> None:
    assert times_to_start(replace(MINUTELY, catch_up=catch_up), at(12, 0, 1)) == [NOON]


def test_of_missed_times_none_is_started_where_none_is_wanted() -> None:
    daily = Schedule("daily", "flow", "0 12 * * *", catch_up=CatchUp.NONE, next_time=NOON)

    assert times_to_start(daily, NOON + ON_TIME - timedelta(seconds=1)) == [NOON]
    assert times_to_start(daily, NOON + ON_TIME) == []


def test_of_missed_times_the_last_is_started_where_that_is_wanted() -> None:
    assert times_to_start(replace(MINUTELY, catch_up=CatchUp.LAST), at(17, 30, 40)) == [at(17, 30)]


def test_all_missed_times_are_started_in_order_where_that_is_wanted() -> None:
    times = times_to_start(replace(MINUTELY, catch_up=CatchUp.ALL), at(12, 4, 59))

    assert times == [at(12, 0), at(12, 1), at(12, 2), at(12, 3), at(12, 4)]


def test_of_very_many_missed_times_the_newest_hundred_are_started() -> None:
    times = times_to_start(replace(MINUTELY, catch_up=CatchUp.ALL), at(17, 30, 40))

    assert len(times) == MAX_CAUGHT_UP
    assert times[-1] == at(17, 30)
    assert times[0] == at(17, 30) - timedelta(minutes=MAX_CAUGHT_UP - 1)


@pytest.mark.parametrize("expression", ["* * * * *", "0 0 1 1 *", "* * 1 1 *"])
def test_a_schedule_that_has_rested_for_ten_years_is_caught_up_with_quickly(expression: str) -> None:
    long_ago = datetime(2016, 1, 1, tzinfo=UTC)
    started = process_time()

    times = times_to_start(Schedule("rested", "flow", expression, catch_up=CatchUp.ALL, next_time=long_ago), NOON)

    assert times
    assert process_time() - started < 2


def test_a_time_that_is_left_out_when_clocks_are_set_forward_is_started_at_the_next_that_there_is() -> None:
    nightly = Schedule("nightly", "flow", "30 2 * * *", "Europe/Berlin", next_time=datetime(2026, 3, 28, 1, 30, tzinfo=UTC))

    following = next_time(nightly, datetime(2026, 3, 28, 12, tzinfo=UTC))

    assert following == datetime(2026, 3, 29, 1, 0, tzinfo=UTC)  # 3 o'clock summer time, for there is no half past two
    assert next_time(nightly, datetime(2026, 3, 29, 12, tzinfo=UTC)) == datetime(2026, 3, 30, 0, 30, tzinfo=UTC)


def test_a_time_that_comes_twice_when_clocks_are_set_back_is_started_once() -> None:
    nightly = Schedule(
        "nightly", "flow", "30 2 * * *", "Europe/Berlin", catch_up=CatchUp.ALL, next_time=datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    )

    assert times_to_start(nightly, datetime(2026, 10, 25, 23, tzinfo=UTC)) == [datetime(2026, 10, 25, 0, 30, tzinfo=UTC)]


@settings(deadline=None)
@given(
    expression=st.sampled_from(["* * * * *", "*/7 * * * *", "0 * * * *", "15 3 * * *", "0 12 * * 1", "30 2 1 * *"]),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata"]),
    start=st.datetimes(datetime(2025, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001  # hypothesis adds the zone
    hours=st.floats(0, 200),
)
def test_what_is_caught_up_with_is_what_would_have_been_started_in_time(expression: str, zone: str, start: datetime, hours: float) -> None:
    first = cron.next_time(expression, zone, start)
    now = start + timedelta(hours=hours)
    one_by_one = []
    time = first
    while time <= now:
        one_by_one.append(time)
        time = cron.next_time(expression, zone, time)
    schedule = Schedule("any", "flow", expression, zone, CatchUp.ALL, next_time=first)

    assert times_to_start(schedule, now) == one_by_one[-MAX_CAUGHT_UP:]
    assert times_to_start(replace(schedule, catch_up=CatchUp.LAST), now) == one_by_one[-1:]
