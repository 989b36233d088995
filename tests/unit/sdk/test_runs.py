"""What a client asks of runs, as the contract has it."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from parade.runs import _timestamp


@pytest.fixture
def in_tokyo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Clocks here show the time of Tokyo, nine hours ahead."""
    with monkeypatch.context() as changed:
        changed.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("in_tokyo")
@pytest.mark.parametrize("given", [datetime(2026, 1, 31, 9), datetime(2026, 1, 31, tzinfo=UTC)])  # noqa: DTZ001  # one without a zone
def test_a_time_without_a_zone_is_local(given: datetime) -> None:
    found = _timestamp(given)

    assert found is not None
    assert found.ToJsonString() == "2026-01-31T00:00:00Z"
