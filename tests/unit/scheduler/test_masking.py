"""Secrets are taken out of messages: as they are, as they are quoted, and in pieces."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parade.wire.errors import Reason, Violation
from parade_scheduler.decider.masking import MASK, PIECE, masked, masked_failure
from parade_scheduler.model import Failure

KEY = 'p"ä\nss\\word'


@pytest.mark.parametrize("quoted", [KEY, repr(KEY)[1:-1], ascii(KEY)[1:-1], 'p\\"ä\\nss\\\\word'])
def test_a_secret_is_taken_out_as_it_may_be_quoted(quoted: str) -> None:
    assert masked(f"no key '{quoted}' here", {KEY}) == f"no key '{MASK}' here"


def test_a_secret_that_contains_another_is_taken_out_whole() -> None:
    assert masked("it is abcdef", {"abc", "abcdef"}) == f"it is {MASK}"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("0123456789abcdef", MASK),
        ("is 0123456789ab … 456789abcdef, no number", f"is {MASK} … {MASK}, no number"),
        ("0123456789ab3456789abcdef", MASK),
        ("0123456789a is too short to tell", "0123456789a is too short to tell"),
    ],
)
def test_pieces_of_a_secret_are_taken_out(text: str, left: str) -> None:
    assert masked(text, {"0123456789abcdef"}) == left


@given(st.text(), st.sets(st.text(min_size=1), max_size=3), st.text())
@settings(max_examples=200, deadline=None)
def test_no_long_piece_of_a_secret_is_left(before: str, secrets: set[str], after: str) -> None:
    text = masked(before + after.join(secrets), secrets)

    for secret in secrets:
        assert not any(secret[start : start + PIECE] in text for start in range(len(secret) - PIECE + 1))


def test_nothing_is_taken_out_where_there_is_no_secret() -> None:
    assert masked("a message", set()) == "a message"


def test_a_failure_keeps_its_form() -> None:
    violations = (Violation("arguments.count", '"t0ken" is not of type "integer"'),)
    failure = Failure(Reason.INVALID_ARGUMENTS, "t0ken does not fit", violations, {"function": "x.a", "value": "t0ken"}, retryable=True)

    assert masked_failure(failure, {"t0ken"}) == Failure(
        Reason.INVALID_ARGUMENTS,
        "*** does not fit",
        (Violation("arguments.count", '"***" is not of type "integer"'),),
        {"function": "x.a", "value": "***"},
        retryable=True,
    )
