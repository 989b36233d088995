"""Secrets are taken out of texts: those that are known, in whatever form and in pieces, and what has the form of a credential."""

import base64
import json
from urllib.parse import quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parade.wire.errors import ParadeError, Reason, Violation
from parade.wire.redaction import (
    MASK,
    PIECE,
    Known,
    Mask,
    masked,
    masked_error,
    redacted,
    redacted_error,
    remember,
    rewritten,
    scrubbed,
)

KEY = 'p"ä\nss\\word'
LONG = "zK9/+q?T 4mW:x2&Lp0=v7"


@pytest.mark.parametrize(
    "quoted", [KEY, repr(KEY)[1:-1], ascii(KEY)[1:-1], 'p\\"ä\\nss\\\\word', json.dumps(KEY)[1:-1], json.dumps(json.dumps(KEY))[3:-3]]
)
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


@given(st.text(max_size=40), st.text(st.characters(codec="utf-8"), min_size=12, max_size=60), st.text(max_size=40))
@settings(max_examples=300, deadline=None)
def test_a_secret_is_found_in_whatever_encoding_a_text_has_it(before: str, secret: str, after: str) -> None:
    plain = f"{before}{secret}{after}"

    for encode in (json.dumps, quote_plus, lambda text: base64.b64encode(text.encode()).decode()):
        assert MASK in masked(encode(plain), {secret})


@pytest.mark.parametrize("before", ["", "u", "us", "usr", "user:"])
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
def test_of_base64_no_more_is_left_than_what_others_have_a_part_in(before: str, encode: object) -> None:
    text = encode(f"{before}{LONG}@end".encode()).decode()  # type: ignore[operator]

    left = masked(text, {LONG}).replace(MASK, "")

    assert len(left) <= len(base64.b64encode(f"{before}@end".encode())) + 4


def test_nothing_is_taken_out_where_there_is_no_secret() -> None:
    assert masked("a message", set()) == "a message"
    assert masked("a message", {""}) == "a message"


def test_a_secret_that_is_looked_for_no_more_is_left() -> None:
    mask = Mask(["0123456789abcdef", "k3y", "0123456789abXXXX"])

    mask.discard("0123456789abcdef")
    mask.discard("k3y")

    assert mask.applied("k3y 456789abcdef 0123456789abXXXX") == f"k3y 456789abcdef {MASK}"


def test_an_error_is_rewritten_with_all_its_words_and_keeps_its_form() -> None:
    cause = ValueError("t0ken")
    error = ParadeError(
        Reason.INVALID_ARGUMENTS,
        "t0ken does not fit",
        violations=[Violation("arguments.t0ken", '"t0ken" is not of type "integer"', 3)],
        metadata={"function": "t0ken.a", "value": "t0ken"},
        retryable=True,
    )
    error.__cause__ = cause

    made = masked_error(error, ["t0ken"])

    assert (made.reason, made.message, made.retryable, made.__cause__) == (Reason.INVALID_ARGUMENTS, "*** does not fit", True, cause)
    assert made.violations == (Violation("arguments.***", '"***" is not of type "integer"', 3),)
    assert made.metadata == {"function": "t0ken.a", "value": "***"}
    assert masked_error(error, []) is error


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("token parade_join_0123456789abcdefABCDEF_0a1b2c3d.", "token parade_join_***."),
        ("key parade_a1b2c3d4e5_0123456789abcdefghijABCDEFGHIJ0123456789abcdefghi is bad", "key parade_a1b2c3d4e5_*** is bad"),
        ("postgresql://parade:p4ss@w0rd@db.example:5432/parade", "postgresql://parade:***@db.example:5432/parade"),
        ("amqp://:p4ss@broker", "amqp://:***@broker"),
        ("Authorization: Bearer eyJhbGciOi.eyJzdWIi.c2lnbmF0dXJl", "Authorization: Bearer ***"),
        ("authorization: bearer abcdefg1", "authorization: bearer ***"),
        ("Authorization: Basic dXNlcjpwYXNzd29yZA==", "Authorization: Basic ***"),
        ("-----BEGIN EC PRIVATE KEY-----\nMHcCAQ/+\n-----END EC PRIVATE KEY-----\nnext", "-----BEGIN EC PRIVATE KEY-----***\nnext"),
    ],
)
def test_what_has_the_form_of_a_credential_is_taken_out(text: str, left: str) -> None:
    assert scrubbed(text) == left


@pytest.mark.parametrize(
    "text",
    [
        "spiffe://parade.local/ns/default/agent/a/1",
        "http://localhost:8080/docs?mail=a@b.c",
        "https://someone@example.com/",
        "show the API key, as `Authorization: Bearer pk_…`",
        "Bearer authentication is needed, and basic arithmetic",
        "the package parade_scheduler and its parade_join_tokens",
    ],
)
def test_what_only_looks_alike_is_left(text: str) -> None:
    assert scrubbed(text) == text


def test_a_process_knows_a_secret_for_a_while_after_it_last_heard_it() -> None:
    times = [0.0]
    known = Known(now=lambda: times[0])
    known.add(["first-secret", "other-secret"], 10)
    times[0] = 5.0
    known.add(["other-secret"], 10)
    before = known.masked("first-secret other-secret")

    times[0] = 10.0

    assert before == f"{MASK} {MASK}"
    assert known.masked("first-secret other-secret") == f"first-secret {MASK}"


def test_of_too_many_secrets_those_heard_longest_ago_give_way_but_never_the_process_own() -> None:
    known = Known(room=100)
    known.add(["own-password"], float("inf"))

    known.add([f"{number:02}-" * 6 for number in range(20)])

    assert known.masked(f"own-password {'19-' * 6} {'01-' * 6}") == f"{MASK} {MASK} {'01-' * 6}"
    assert len(known._until) == 1 + (100 - len("own-password")) // 18


def test_a_word_is_no_secret_that_is_looked_for_everywhere() -> None:
    known = Known()

    known.add(["true", "default"])

    assert known.masked("true of default") == "true of default"
    assert repr(known) == "Known(0)"


def test_a_field_of_a_record_is_redacted_however_deep_it_stands() -> None:
    remember(["canary-of-the-fields"], 60)

    fields = {"list": ["canary-of-the-fields", 3], "canary-of-the-fields": ValueError("canary-of-the-fields"), "none": None}

    assert rewritten(fields, redacted) == {"list": [MASK, 3], MASK: MASK, "none": None}


def test_what_a_process_knows_is_taken_out_of_errors_where_that_is_asked_for() -> None:
    remember(["canary-of-the-errors"], 60)
    error = ParadeError(Reason.AGENT_ERROR, "canary-of-the-errors and k3y at http://u:p4ssw0rd@host")

    made = redacted_error(error, ["k3y"])

    assert made.message == f"{MASK} and {MASK} at http://u:{MASK}@host"
    assert redacted(error.message) == f"{MASK} and k3y at http://u:{MASK}@host"


def test_a_large_secret_is_found_as_it_is_and_in_json() -> None:
    secret = "".join(f'"{number}"\n' for number in range(1000))

    assert masked(f"no {secret} here", {secret}) == f"no {MASK} here"
    assert masked(json.dumps({"key": secret}), {secret}) == json.dumps({"key": MASK})
