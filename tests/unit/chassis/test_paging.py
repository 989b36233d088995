import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parade.wire.errors import ParadeError, Reason
from parade_chassis import paging
from parade_chassis.paging import MAX_BYTES, last_of, page_of, size_of


def page(entries: list[str], size: int = 0, token: str = "", weight: int = 1, scope: str = "agents") -> tuple[list[str], str]:
    after = last_of(scope, token)
    following = [entry for entry in entries if entry > after]
    return page_of(following, size_of(size), scope, lambda entry: entry, lambda _: weight)


@given(names=st.sets(st.text("abc-.", min_size=1, max_size=5), max_size=40), size=st.integers(1, 7), weight=st.integers(0, MAX_BYTES * 2))
def test_following_the_tokens_gives_every_entry_once_and_in_order(names: set[str], size: int, weight: int) -> None:
    entries, token = sorted(names), ""
    seen: list[str] = []
    while True:
        found, token = page(entries, size, token, weight)
        assert len(found) <= size
        seen.extend(found)
        if not token:
            break
    assert seen == entries


def test_an_entry_that_goes_away_between_pages_hides_no_other() -> None:
    _, token = page(["a", "b", "c", "d"], 2)

    assert page(["a", "c", "d"], 2, token) == (["c", "d"], "")


def test_more_than_the_largest_page_gives_the_largest_page() -> None:
    assert len(page([f"{number:05}" for number in range(3000)], 2000)[0]) == 1000


@pytest.mark.parametrize("token", ["x", "####", "é", "a" * 100, base64.urlsafe_b64encode(b"1\nagents").decode()])
def test_a_token_that_nobody_gave_out_is_refused(token: str) -> None:
    with pytest.raises(ParadeError) as raised:
        page(["a"], token=token)
    assert raised.value.reason is Reason.INVALID_ARGUMENTS
    assert raised.value.violations[0].field == "page_token"


def test_a_token_of_another_list_is_refused() -> None:
    _, token = page(["a", "b"], 1, scope="functions")
    with pytest.raises(ParadeError):
        page(["a", "b"], 1, token)


def test_a_negative_size_is_refused() -> None:
    with pytest.raises(ParadeError) as raised:
        page(["a"], -1)
    assert raised.value.violations[0].field == "page_size"


@pytest.mark.parametrize(("text", "number"), [("0", 0), ("12", 12), ("9" * 17, 10**17 - 1)])
def test_a_number_in_a_token_is_read(text: str, number: int) -> None:
    assert paging.whole(text) == number


@pytest.mark.parametrize("text", ["", "x", "-1", "1.5", " 1", "9" * 18, "9" * 5000])
def test_a_number_that_nobody_put_into_a_token_is_refused(text: str) -> None:
    with pytest.raises(ParadeError) as raised:
        paging.whole(text)
    assert raised.value.violations[0].field == "page_token"
