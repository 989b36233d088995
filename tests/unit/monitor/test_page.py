import pytest
from hypothesis import given
from hypothesis import strategies as st

from parade_monitor import page
from parade_monitor.model import LogFilter, Position

WANTED = LogFilter("default", service="scheduler")


@given(st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1))
def test_a_token_gives_its_place_back(time: int, number: int) -> None:
    place = Position(time, number)

    assert page.from_token(page.to_token(place, WANTED), WANTED) == place


@given(st.text(max_size=60))
def test_any_other_text_is_no_token(text: str) -> None:
    assert page.from_token(text, WANTED) is None


@pytest.mark.parametrize("other", [LogFilter("default"), LogFilter("team", service="scheduler")])
def test_a_token_is_good_for_its_own_question_only(other: LogFilter) -> None:
    assert page.from_token(page.to_token(Position(1, 2), WANTED), other) is None
