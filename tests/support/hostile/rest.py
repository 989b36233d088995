"""HTTP/1.1 as no library sends it."""

import random
import socket
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import urlsplit

from tests.support.hostile.messages import DATA, mutated

PATIENCE = 5.0


def abuse(url: str, key: str, chance: random.Random) -> int:
    """Sends one thing that is no proper request, and returns the status of the answer; 0 where there is none."""
    parts = urlsplit(url)
    host, port = str(parts.hostname), int(parts.port or 80)
    with socket.create_connection((host, port), PATIENCE) as connection:
        with suppress(OSError):
            connection.sendall(chance.choice(_MADE)(f"{host}:{port}", key, chance))
            connection.shutdown(socket.SHUT_WR)
            said = connection.recv(65536)
            words = said.split(b" ", 2)
            return int(words[1]) if said.startswith(b"HTTP/1.") and len(words) > 1 else 0
    return 0


def _request(host: str, key: str, chance: random.Random) -> bytes:
    body = chance.choice(DATA)
    verb = chance.choice(["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "TRACE", "CONNECT", "BREW"])
    path = chance.choice(_PATHS)
    length = chance.choice([str(len(body)), str(len(body) + 1), "0", "-1", "1e3", "99999999999999999999", ""])
    head = f"{verb} {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {key}\r\nContent-Length: {length}\r\n\r\n"
    return head.encode() + body


def _damaged(host: str, key: str, chance: random.Random) -> bytes:
    return mutated(_request(host, key, chance), chance)


def _smuggled(host: str, key: str, chance: random.Random) -> bytes:
    inner = b"0\r\n\r\nGET /v1/agents HTTP/1.1\r\nHost: x\r\n\r\n"
    return (
        f"POST /v1/functions/tested.echo:call HTTP/1.1\r\nHost: {host}\r\nx-api-key: {key}\r\n"
        f"Content-Length: {len(inner)}\r\nTransfer-Encoding: chunked\r\n\r\n"
    ).encode() + inner


def _chunked(host: str, key: str, chance: random.Random) -> bytes:
    pieces = chance.choice(
        [b"ffffffffffffffff\r\nx\r\n", b"-1\r\nx\r\n", b"2\r\n{}\r\n0\r\n", b"2;" + b"a" * 70_000 + b"\r\n{}\r\n0\r\n\r\n", b"zz\r\n"]
    )
    head = f"POST /v1/workflows:check HTTP/1.1\r\nHost: {host}\r\nx-api-key: {key}\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head.encode() + pieces


def _headers(host: str, key: str, chance: random.Random) -> bytes:
    lines = chance.choice(
        [
            "X: " + "v" * 100_000,
            "\r\n".join(f"X-{number}: v" for number in range(2000)),
            f"Host: {host}\r\nHost: other",
            "X-Request-Timeout: " + chance.choice(["-1", "1e999", "nan", "\x00", "9" * 400]),
            "Traceparent: " + chance.choice(["00-0-0-0", "ff" * 200, ""]),
            "Origin: null",
            "Expect: 100-continue",
            "Upgrade: h2c\r\nConnection: Upgrade",
            "Last-Event-ID: " + chance.choice(["-1", "x", "9" * 30]),
        ]
    )
    return f"GET {chance.choice(_PATHS)} HTTP/1.1\r\nHost: {host}\r\nx-api-key: {key}\r\n{lines}\r\n\r\n".encode("latin-1")


def _bytes(host: str, key: str, chance: random.Random) -> bytes:
    return chance.choice(
        [chance.randbytes(4096), b"\x00" * 5000, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\x16\x03\x01\x02\x00", b"\r\n" * 5000]
    )


_PATHS = (
    "/v1/agents",
    "/v1/runs?states=77&page_size=-1&page_token=%00",
    "/v1/runs/%2e%2e%2f:wait?timeout=-1s",
    "/v1/functions/tested.echo:call",
    "/v1/functions/tested.%C0%80:call",
    "/v1/functions/%:call",
    "/v1/workflows:check",
    "/v1/artifacts/sha256:" + "0" * 64,
    "/v1/" + "a/" * 3000,
    "/v1/calls/x:wait?" + "&".join(f"a{number}=1" for number in range(500)),
    "/healthz",
    "/openapi.json",
    "/docs/../../../etc/passwd",
    "//",
    "*",
    "http://elsewhere.example/v1/agents",
    "/v1/logs:query",
    "/v1/agents/\u00e9",
)
_MADE: tuple[Callable[[str, str, random.Random], bytes], ...] = (_request, _damaged, _damaged, _smuggled, _chunked, _headers, _bytes)
