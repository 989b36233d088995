"""When the next time of a cron expression is."""

import itertools
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parade_scheduler.language import cron

BERLIN = ZoneInfo("Europe/Berlin")


def times(expression: str, zone: str, after: datetime, count: int) -> list[str]:
    """Returns the next times, as clocks in the zone show them."""
    found = []
    for _ in range(count):
        after = cron.next_time(expression, zone, after)
        assert after.tzinfo is UTC
        found.append(after.astimezone(ZoneInfo(zone)).strftime("%m-%d %H:%M %z"))
    return found


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("* * * * *", ["01-31 12:01", "01-31 12:02"]),
        ("0 6 * * *", ["02-01 06:00", "02-02 06:00"]),
        ("*/20 12 * * *", ["01-31 12:20", "01-31 12:40"]),
        ("0 0 29 2 *", ["02-29 00:00", "02-29 00:00"]),
        ("0 0 L * *", ["02-29 00:00", "03-31 00:00"]),
        ("30 8 * * MON-FRI", ["02-01 08:30", "02-02 08:30"]),
        ("0 0 * * 5#2", ["02-09 00:00", "03-08 00:00"]),
        ("0 0 1 jan,jul *", ["07-01 00:00", "01-01 00:00"]),
        ("\t0  6 * * 7 ", ["02-04 06:00", "02-11 06:00"]),
    ],
)
def test_gives_the_next_times(expression: str, expected: list[str]) -> None:
    found = times(expression, "UTC", datetime(2024, 1, 31, 12, 0, 30, tzinfo=UTC), 2)

    assert [time[:11] for time in found] == expected


def test_a_time_is_that_of_its_zone() -> None:
    assert cron.next_time("0 6 * * *", "Asia/Kolkata", datetime(2026, 1, 1, tzinfo=UTC)) == datetime(2026, 1, 1, 0, 30, tzinfo=UTC)
    assert cron.next_time("0 6 * * *", "America/New_York", datetime(2026, 7, 1, tzinfo=BERLIN)) == datetime(2026, 7, 1, 10, tzinfo=UTC)


@pytest.mark.parametrize("expression", ["30 2 * * *", "30 2 * * 0", "30 2 29 3 *"])
def test_a_time_that_does_not_exist_becomes_the_next_that_does(expression: str) -> None:
    before = datetime(2026, 3, 28, 12, tzinfo=BERLIN)

    assert times(expression, "Europe/Berlin", before, 1) == ["03-29 03:00 +0200"]


def test_times_that_do_not_exist_become_one() -> None:
    before = datetime(2026, 3, 29, 1, 30, tzinfo=BERLIN)

    assert times("0,30 2 * * *", "Europe/Berlin", before, 2) == ["03-29 03:00 +0200", "03-30 02:00 +0200"]
    assert times("*/30 2 * * *", "Europe/Berlin", before, 2) == ["03-29 03:00 +0200", "03-30 02:00 +0200"]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("30 2 * * *", ["10-25 02:30 +0200", "10-26 02:30 +0100"]),
        ("0,30 2 * * *", ["10-25 02:00 +0200", "10-25 02:30 +0200", "10-26 02:00 +0100"]),
        ("*/30 2 * * *", ["10-25 02:00 +0200", "10-25 02:30 +0200", "10-26 02:00 +0100"]),
    ],
)
def test_a_time_that_exists_twice_is_used_once(expression: str, expected: list[str]) -> None:
    before = datetime(2026, 10, 25, 1, 45, tzinfo=BERLIN)

    assert times(expression, "Europe/Berlin", before, len(expected)) == expected


@pytest.mark.parametrize("fold", [0, 1])
def test_whoever_asks_in_the_hour_that_exists_twice_gets_no_time_again(fold: int) -> None:
    within = datetime(2026, 10, 25, 2, 45, fold=fold, tzinfo=BERLIN)
    asked_twice = datetime(2026, 10, 25, 2, 15, fold=1, tzinfo=BERLIN)

    assert times("30 2 * * *", "Europe/Berlin", within, 1) == ["10-26 02:30 +0100"]
    assert times("30 2 * * *", "Europe/Berlin", asked_twice, 1) == ["10-26 02:30 +0100"]


def test_what_recurs_every_hour_goes_on_with_time_itself() -> None:
    spring, autumn = datetime(2026, 3, 29, 1, tzinfo=BERLIN), datetime(2026, 10, 25, 1, tzinfo=BERLIN)

    assert times("0 * * * *", "Europe/Berlin", spring, 2) == ["03-29 03:00 +0200", "03-29 04:00 +0200"]
    assert times("0 * * * *", "Europe/Berlin", autumn, 3) == ["10-25 02:00 +0200", "10-25 02:00 +0100", "10-25 03:00 +0100"]


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Sao_Paulo", "UTC"])
@pytest.mark.parametrize("expression", ["15 2 * * *", "*/10 * * * *", "0 0 * * *", "45 1,2,3 * * *", "* 2 * * 0"])
def test_times_rise_and_a_fixed_hour_is_used_every_day(zone: str, expression: str) -> None:
    after = datetime(2026, 3, 1, tzinfo=UTC)
    found = [after]
    while found[-1] < datetime(2026, 4, 20, tzinfo=UTC):
        found.append(cron.next_time(expression, zone, found[-1]))

    assert all(earlier < later for earlier, later in itertools.pairwise(found))
    if expression in ("15 2 * * *", "0 0 * * *"):
        assert all(later - earlier <= timedelta(hours=25) for earlier, later in itertools.pairwise(found[1:]))


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("", "5 fields, `` has 0"),
        ("0 6 * *", "has 4"),
        ("0 0 6 * * *", "has 6"),
        ("@daily", "has 1"),
        ("60 * * * *", "bad minute"),
        ("* 24 * * *", "bad hour"),
        ("* * 0 * *", "bad day-of-month"),
        ("* * * 13 *", "bad month"),
        ("* * * * 8", "bad day-of-week"),
        ("*/0 * * * *", "bad minute"),
        ("5-1 * * * *", "bad minute"),
        ("0 0 30 2 *", "bad day-of-month"),
        ("a b c d e", "bad minute"),
        ("0 0 31 4,6 *", "bad day-of-month"),
        ("1," * 200 + "1 * * * *", "at most 200 characters"),
    ],
)
def test_says_what_is_wrong_with_an_expression(expression: str, why: str) -> None:
    assert why in cron.fault(expression)
    with pytest.raises(ValueError, match="cron"):
        cron.next_time(expression, "UTC", datetime(2026, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize("zone", ["", "Berlin", "Europe", "../../etc/passwd", "/etc/localtime", "Europe/Berlin\0", "x" * 10_000])
def test_a_zone_that_is_none_is_refused(zone: str) -> None:
    assert not cron.is_zone(zone)
    with pytest.raises(ValueError, match="there is no time zone"):
        cron.next_time("* * * * *", zone, datetime(2026, 1, 1, tzinfo=UTC))


@given(st.text("0123456789*/-,#L MONJANw", max_size=40) | st.text(max_size=20))
def test_no_text_is_anything_but_read_or_refused(expression: str) -> None:
    if cron.fault(expression):
        return
    after = datetime(2026, 1, 1, tzinfo=UTC)
    assert cron.next_time(expression, "Europe/Berlin", after) > after
