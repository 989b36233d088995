"""API keys: made at random, told from anything else without asking."""

import re

from hypothesis import given
from hypothesis import strategies as st

from parade_chassis.api_key import mark_of, new_key

KEY = "parade_0123456789_" + "a" * 43


def test_a_key_is_one_word_that_a_scanner_finds() -> None:
    key = new_key()

    assert re.fullmatch(r"parade_[0-9A-Za-z]{10}_[0-9A-Za-z]{49}", key)
    assert len(key) == 67


def test_keys_differ() -> None:
    assert len({new_key() for _ in range(1000)}) == 1000


def test_the_mark_holds_the_id_and_nothing_of_the_secret() -> None:
    key = new_key()

    mark = mark_of(key)

    assert mark is not None
    assert mark.id == key[7:17]
    assert len(mark.digest) == 32
    assert key[18:61] not in repr(mark)


@given(st.integers(0, 66), st.sampled_from("0Az_é -"))
def test_a_key_with_another_character_is_no_key(place: int, letter: str) -> None:
    key = new_key(lambda letters: letters[0])
    changed = key[:place] + letter + key[place + 1 :]

    assert (mark_of(changed) is None) == (changed != key)


@given(st.text())
def test_a_text_is_no_key(text: str) -> None:
    assert mark_of(text) is None


@given(st.from_regex(r"\Aparade_[0-9A-Za-z]{10}_[0-9A-Za-z]{49}\Z"))
def test_what_only_looks_like_a_key_is_none(text: str) -> None:
    # One in 4 billion would be one by chance.
    assert mark_of(text) is None
