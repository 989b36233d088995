"""What a mandate says, and how it is narrowed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parade.wire.identity import DEFAULT_DOMAIN, Identity
from parade.wire.mandate import EVERYTHING, Mandate, Scope, claims, covers, holder_of, is_pattern, narrowed, read

AGENTS, FUNCTIONS = ("a", "b", "c"), ("read", "write")
WORLD = frozenset(f"{agent}.{function}" for agent in AGENTS for function in FUNCTIONS)
"""Every function there is."""
PATTERNS = st.sampled_from(["*", *(f"{agent}.*" for agent in AGENTS), *sorted(WORLD)])
LISTS = st.lists(PATTERNS, max_size=6).map(tuple)
NAMES = st.text(max_size=40)
MANDATES = st.builds(
    Mandate,
    NAMES,
    NAMES,
    NAMES,
    NAMES,
    NAMES,
    st.builds(Scope, LISTS, st.lists(NAMES, max_size=6).map(tuple), NAMES),
    st.integers(0, 2**40),
    st.integers(0, 2**40),
)


def meant(functions: tuple[str, ...]) -> frozenset[str]:
    """Returns what a list means, the long way."""
    return frozenset(one for one in WORLD for pattern in functions if pattern in ("*", one) or pattern == one.split(".")[0] + ".*")


@given(LISTS)
def test_a_list_covers_what_it_means_and_nothing_else(functions: tuple[str, ...]) -> None:
    assert {one for one in WORLD if covers(functions, one)} == meant(functions)


@given(LISTS, LISTS.filter(bool))
def test_narrowed_is_what_both_have_in_common(functions: tuple[str, ...], asked: tuple[str, ...]) -> None:
    assert meant(narrowed(functions, asked)) == meant(functions) & meant(asked)


@given(LISTS)
def test_who_asks_for_nothing_less_has_what_there_was(functions: tuple[str, ...]) -> None:
    assert narrowed(functions, ()) == functions


@pytest.mark.parametrize("text", ["*", "a.*", "a.read", "data-set.Read_all"])
def test_what_names_functions_is_known(text: str) -> None:
    assert is_pattern(text)


@pytest.mark.parametrize("text", ["", "a", "a.", ".read", "*.*", "*.read", "a.re*", "a.read.more", "A.read", "a b.read", "a.*\n"])
def test_what_names_none_is_not(text: str) -> None:
    assert not is_pattern(text)


@given(MANDATES)
def test_what_is_written_is_read(mandate: Mandate) -> None:
    assert read(claims(mandate, DEFAULT_DOMAIN), DEFAULT_DOMAIN) == mandate


@given(MANDATES)
def test_a_mandate_of_another_trust_domain_is_none(mandate: Mandate) -> None:
    with pytest.raises(ValueError, match="trust domain"):
        read(claims(mandate, "elsewhere.local"), DEFAULT_DOMAIN)


GOOD = claims(Mandate("i", "s", "n", "h", "r", Scope(EVERYTHING, ("b", "a"), "t"), 1, 2), DEFAULT_DOMAIN).decode()


@pytest.mark.parametrize(
    ("part", "other"),
    [
        ('"iss":"i",', ""),
        ('"exp":2', '"exp":2.5'),
        ('"iat":1', '"iat":"1"'),
        ('"sub":"s"', '"sub":null'),
        ('"run":"r"', '"run":1'),
        ('"functions":["*"]', '"functions":"*"'),
        ('"functions":["*"]', '"functions":[1]'),
        ('"run":"r"', '"run":"r","more":1'),
        ('"iss":"i"', '"iss":"i","more":1'),
        ('{"sub":"a"}', '{"sub":1}'),
        ('{"sub":"a"}', '{"sub":"a","more":1}'),
        ('{"sub":"a"}', '"a"'),
        ('{"sub":"h",', "{"),
    ],
)
def test_claims_that_are_not_as_they_are_written_are_refused(part: str, other: str) -> None:
    assert part in GOOD
    with pytest.raises(ValueError, match=r"claim|actors|functions"):
        read(GOOD.replace(part, other, 1).encode(), DEFAULT_DOMAIN)


@pytest.mark.parametrize("payload", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 5000])
def test_what_is_no_json_object_is_refused(payload: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        read(payload, DEFAULT_DOMAIN)


def test_instances_of_an_agent_hold_what_the_agent_holds() -> None:
    first, second = Identity.agent("shop", "i-1", "sales"), Identity.agent("shop", "i-2", "sales")

    assert holder_of(first) == holder_of(second) == f"spiffe://{DEFAULT_DOMAIN}/ns/sales/agent/shop"
    assert holder_of(first) != holder_of(Identity.agent("shop", "i-1", "other"))
