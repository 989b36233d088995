import pytest

from parade_gateway.errors import HttpError
from parade_gateway.guard import Guard, is_loopback

LOCAL = Guard("127.0.0.1:8080", ["mesh.example.com"], ["https://console.example.com"])


def refused(guard: Guard, headers: dict[str, str], *, navigable: bool = False) -> bool:
    try:
        guard.admit(headers, navigable=navigable)
    except HttpError as error:
        return error.status == 403
    return False


@pytest.mark.parametrize("host", ["localhost:8080", "localhost", "127.0.0.1:8080", "[::1]:8080", "LOCALHOST:1", "mesh.example.com"])
def test_our_own_names_are_answered(host: str) -> None:
    assert not refused(LOCAL, {"host": host})


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8080", "localhost.evil.example", "10.0.0.1", "", "127.0.0.1.evil.example"])
def test_on_loopback_other_names_are_refused_so_that_rebinding_fails(host: str) -> None:
    assert refused(LOCAL, {"host": host})


def test_off_loopback_any_name_is_answered_unless_names_are_listed() -> None:
    assert not refused(Guard("0.0.0.0:8080", [], []), {"host": "anything"})
    assert refused(Guard("0.0.0.0:8080", ["mesh.example.com"], []), {"host": "anything"})


@pytest.mark.parametrize("origin", ["http://localhost:8080", "https://console.example.com"])
def test_pages_of_ours_and_of_listed_origins_may_call(origin: str) -> None:
    assert not refused(LOCAL, {"host": "localhost:8080", "origin": origin, "sec-fetch-site": "cross-site"})


@pytest.mark.parametrize("origin", ["https://evil.example", "http://localhost:3000", "null"])
def test_pages_of_others_may_not_call(origin: str) -> None:
    assert refused(LOCAL, {"host": "localhost:8080", "origin": origin})


def test_a_request_for_another_sites_page_is_refused_without_an_origin_too() -> None:
    assert refused(LOCAL, {"host": "localhost:8080", "sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"})
    assert refused(LOCAL, {"host": "localhost:8080", "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"})


def test_a_link_elsewhere_may_lead_to_a_page() -> None:
    headers = {"host": "localhost:8080", "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}

    assert not refused(LOCAL, headers, navigable=True)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1:1", True),
        ("localhost:1", True),
        ("[::1]:1", True),
        ("0.0.0.0:1", False),
        ("[::]:1", False),
        ("mesh.example.com:1", False),
    ],
)
def test_loopback_is_told_from_the_rest(address: str, expected: bool) -> None:  # noqa: FBT001
    assert is_loopback(address) is expected
