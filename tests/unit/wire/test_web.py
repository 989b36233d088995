"""Documents over HTTP: read by nobody else, and bounded in what they cost whoever asks for them."""

from collections.abc import Iterator

import pytest

from parade.wire import web
from parade.wire.errors import ParadeError, Reason
from tests.support.lying_issuer import LyingIssuer, lying


@pytest.fixture
def server() -> Iterator[LyingIssuer]:
    with lying() as issuer:
        yield issuer


def failure(url: str, timeout: float = 5.0) -> ParadeError:
    with pytest.raises(ParadeError) as caught:
        web.get(url, timeout=timeout)
    return caught.value


@pytest.mark.parametrize(
    "url",
    [
        "https://id.example",
        "https://id.example:8443/realm",
        "http://127.0.0.1:9",
        "http://localhost:9/x",
        "http://[::1]:9",
        "HTTPS://id.example",
    ],
)
def test_https_and_this_machine_are_secure(url: str) -> None:
    assert web.secure(url)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "id.example",
        "http://id.example",
        "http://127.0.0.1.example",
        "http://10.0.0.1",
        "ftp://127.0.0.1",
        "file:///etc/passwd",
        "https://",
        "https://user@id.example",
        "https://user:password@id.example",
        "https://id.example:none",
        "https://id.example/a b",
        "https://id.example/\n",
        "https://é.example",
        "http://[::1",
        "http://127.0.0.1@id.example",
    ],
)
def test_nothing_else_is(url: str) -> None:
    assert not web.secure(url)
    assert failure(url).reason is Reason.FAILED_PRECONDITION


def test_a_document_is_read(server: LyingIssuer) -> None:
    server.bodies["/a"] = b'{"a": 1}'

    assert web.get(f"{server.url}/a") == web.Answer(200, {"a": 1})


def test_a_form_is_sent(server: LyingIssuer) -> None:
    server.bodies["/a"] = b'{"error": "invalid_grant"}'
    server.status = 400

    assert web.post(f"{server.url}/a", {"code": "x y"}) == web.Answer(400, {"error": "invalid_grant"})


@pytest.mark.parametrize("body", [b"", b"[]", b"1", b"<html>", b'{"a": ', b"\xff", b"[" * 100_000])
def test_what_is_no_json_object_is_no_answer(server: LyingIssuer, body: bytes) -> None:
    server.bodies["/a"] = body

    assert failure(f"{server.url}/a").reason is Reason.UNAVAILABLE
    server.status = 500
    assert web.get(f"{server.url}/a") == web.Answer(500, {})


def test_more_than_a_document_has_is_not_read(server: LyingIssuer) -> None:
    server.bodies["/a"] = b'{"a": "' + b"x" * 10_000_000 + b'"}'

    assert "more than 1,048,576 bytes" in failure(f"{server.url}/a").message


def test_a_redirect_is_not_followed(server: LyingIssuer) -> None:
    server.status, server.headers = 302, {"location": f"{server.url}/b"}

    assert web.get(f"{server.url}/a").status == 302
    assert server.asked == ["/a"]


def test_silence_ends(server: LyingIssuer) -> None:
    server.silence = 60.0

    assert failure(f"{server.url}/a", 0.1).reason is Reason.UNAVAILABLE


def test_an_answer_that_drips_ends(server: LyingIssuer) -> None:
    server.bodies["/a"], server.drip = b" " * 1000, 0.02

    assert "takes too long" in failure(f"{server.url}/a", 0.3).message


def test_who_is_not_there_does_not_answer(unused_tcp_port: int) -> None:
    assert failure(f"http://127.0.0.1:{unused_tcp_port}/a").reason is Reason.UNAVAILABLE


def test_no_proxy_is_asked_for_this_machine(server: LyingIssuer, monkeypatch: pytest.MonkeyPatch, unused_tcp_port: int) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{unused_tcp_port}")
    server.bodies["/a"] = b"{}"

    assert web.get(f"{server.url}/a").status == 200
