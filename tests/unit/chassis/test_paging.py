import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parade.wire.errors import ParadeError, Reason
from parade_agent_manager.paging import MAX_BYTES, Page, page_of


def page(entries: list[str], size: int = 0, token: str = "", weight: int = 1, scope: str = "agents") -> Page[str]:
    return page_of(entries, lambda entry: entry, lambda _: weight, size, token, scope)


@given(names=st.sets(st.text("abc-.", min_size=1, max_size=5), max_size=40), size=st.integers(1, 7), weight=st.integers(0, MAX_BYTES * 2))
def test_following_the_tokens_gives_every_entry_once_and_in_order(names: set[str], size: int, weight: int) -> None:
    entries, token = sorted(names), ""
    seen: list[str] = []
    while True:
        found = page(entries, size, token, weight)
        assert len(found.entries) <= size
        seen.extend(found.entries)
        token = found.next_token
        if not token:
            break
    assert seen == entries


def test_an_entry_that_goes_away_between_pages_hides_no_other() -> None:
    first = page(["a", "b", "c", "d"], 2)
    assert page(["a", "c", "d"], 2, first.next_token).entries == ("c", "d")


def test_more_than_the_largest_page_gives_the_largest_page() -> None:
    assert len(page([f"{number:05}" for number in range(3000)], 2000).entries) == 1000


@pytest.mark.parametrize("token", ["x", "####", "é", "a" * 100, base64.urlsafe_b64encode(b"1\nagents").decode()])
def test_a_token_that_nobody_gave_out_is_refused(token: str) -> None:
    with pytest.raises(ParadeError) as raised:
        page(["a"], token=token)
    assert raised.value.reason is Reason.INVALID_ARGUMENTS
    assert raised.value.violations[0].field == "page_token"


def test_a_token_of_another_list_is_refused() -> None:
    token = page(["a", "b"], 1, scope="functions").next_token
    with pytest.raises(ParadeError):
        page(["a", "b"], 1, token)


def test_a_negative_size_is_refused() -> None:
    with pytest.raises(ParadeError) as raised:
        page(["a"], -1)
    assert raised.value.violations[0].field == "page_size"
