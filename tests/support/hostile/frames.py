"""HTTP/2 as no library sends it, over TLS as everybody's: frames made by hand, in the wrong order, number, size and state."""

import gzip
import random
import socket
import ssl
import struct
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from tempfile import NamedTemporaryFile

import hpack
from hyperframe import frame as http2

from parade.wire.certificates import Certificates
from tests.support.hostile.messages import mutated
from tests.support.hostile.ports import Port

_BOMB = gzip.compress(bytes(16 * 1024 * 1024))
"""More than a message may hold, in 16 KiB."""
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
PATIENCE = 5.0
"""Seconds that the other side may take to answer or to hang up."""
FLOOD = 500
"""Frames in one flood."""


class Raw:
    """One connection, whose user says every frame."""

    def __init__(self, port: Port, context: ssl.SSLContext | None) -> None:
        """Connects; without TLS where there is no context."""
        host, _, number = port.address.rpartition(":")
        plain = socket.create_connection((host, int(number)), PATIENCE)
        self._socket = plain if context is None else context.wrap_socket(plain, server_hostname=port.server_name)
        self._encoder = hpack.Encoder()
        self._path = port.methods[0].path

    def send(self, *frames: http2.Frame | bytes) -> None:
        """Sends frames, or bytes that are none."""
        self._socket.sendall(b"".join(one if isinstance(one, bytes) else one.serialize() for one in frames))

    def hello(self) -> None:
        """Begins as a client does."""
        self.send(PREFACE, http2.SettingsFrame(0), http2.WindowUpdateFrame(0, window_increment=2**30))

    def headers(self, stream: int, *more: tuple[str, str], end: bool = False, path: bytes = b"") -> http2.HeadersFrame:
        """Makes the beginning of a request."""
        made = http2.HeadersFrame(stream)
        head = [(":method", "POST"), (":scheme", "https"), (":path", path or self._path), (":authority", "x")]
        made.data = self._encoder.encode([*head, ("content-type", "application/grpc"), ("te", "trailers"), *more])
        made.flags.add("END_HEADERS")
        if end:
            made.flags.add("END_STREAM")
        return made

    def continuation(self, stream: int, *headers: tuple[str, str]) -> http2.ContinuationFrame:
        """Makes a further piece of headers, which does not end them."""
        made = http2.ContinuationFrame(stream)
        made.data = self._encoder.encode(headers)
        return made

    def told(self) -> None:
        """Reads what is there, until the other side hangs up or is silent for a moment."""
        self._socket.settimeout(0.02)
        with suppress(OSError):
            while self._socket.recv(65536):
                pass
        self._socket.settimeout(PATIENCE)

    def close(self) -> None:
        """Hangs up, without a word."""
        with suppress(OSError):
            self._socket.close()


def data(stream: int, body: bytes) -> http2.DataFrame:
    """Makes the rest of a request: its length and its body, as they are said."""
    made = http2.DataFrame(stream)
    made.data = body
    made.flags.add("END_STREAM")
    return made


def message(body: bytes, *, length: int | None = None, flag: int = 0) -> bytes:
    """Frames a message as gRPC does, or lies about it."""
    return struct.pack(">BI", flag, len(body) if length is None else length) + body


@contextmanager
def shown(trust_bundle: bytes, certificates: Certificates | None) -> Iterator[ssl.SSLContext]:
    """Gives a context that shows certificates, or none."""
    context = ssl.create_default_context(cadata=trust_bundle.decode())
    context.set_alpn_protocols(["h2"])
    if certificates is not None:
        with NamedTemporaryFile() as chain, NamedTemporaryFile() as key:
            chain.write(certificates.certificate_chain)
            key.write(certificates.private_key)
            chain.flush()
            key.flush()
            context.load_cert_chain(chain.name, key.name)
    yield context


def abuse(port: Port, context: ssl.SSLContext | None, name: str, chance: random.Random) -> None:
    """Abuses a port in one way. Whatever it does to the connection is its right; so is to serve it."""
    raw = Raw(port, context)
    with suppress(OSError):
        ABUSES[name](raw, chance)
        raw.told()
    raw.close()


def _rapid_reset(raw: Raw, chance: random.Random) -> None:
    raw.hello()
    for stream in range(1, 2 * FLOOD, 2):
        raw.send(raw.headers(stream), http2.RstStreamFrame(stream, error_code=8))


def _flood(make: Callable[[random.Random], http2.Frame]) -> Callable[[Raw, random.Random], None]:
    def flood(raw: Raw, chance: random.Random) -> None:
        raw.hello()
        for _ in range(FLOOD):
            raw.send(make(chance))

    return flood


def _endless_headers(raw: Raw, chance: random.Random) -> None:
    raw.hello()
    begun = raw.headers(1)
    begun.flags.discard("END_HEADERS")
    raw.send(begun)
    for number in range(FLOOD):
        raw.send(raw.continuation(1, (f"x-{number}", "v" * 100)))


def _once(make: Callable[[Raw, random.Random], Iterable[http2.Frame | bytes]]) -> Callable[[Raw, random.Random], None]:
    def once(raw: Raw, chance: random.Random) -> None:
        raw.hello()
        raw.send(*make(raw, chance))

    return once


def _no_preface(raw: Raw, chance: random.Random) -> None:
    raw.send(chance.choice([b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01" * 20, PREFACE[:10], b"\x00" * 5000]))


def _damaged(raw: Raw, chance: random.Random) -> list[http2.Frame | bytes]:
    whole = raw.headers(1).serialize() + data(1, message(b"\x0a\x01x")).serialize()
    return [mutated(whole, chance)]


def _random_frame(raw: Raw, chance: random.Random) -> list[http2.Frame | bytes]:
    body = chance.randbytes(chance.randrange(64))
    head = struct.pack(">I", chance.choice([len(body), 0, len(body) + 1, 2**24 - 1]))[1:]
    stream = struct.pack(">I", chance.choice([0, 1, 2, 3, 2**31 - 1, 2**32 - 1]))
    return [raw.headers(1), head + bytes([chance.randrange(12), chance.randrange(256)]) + stream + body]


ABUSES: dict[str, Callable[[Raw, random.Random], None]] = {
    "requests reset at once": _rapid_reset,
    "pings": _flood(lambda chance: http2.PingFrame(0, opaque_data=chance.randbytes(8))),
    "settings": _flood(lambda chance: http2.SettingsFrame(0, settings={4: 65535})),
    "empty data": _flood(lambda chance: http2.DataFrame(1)),
    "priorities": _flood(lambda chance: http2.PriorityFrame(2 * chance.randrange(100) + 1, depends_on=0, stream_weight=1)),
    "headers without end": _endless_headers,
    "a header too large": _once(lambda raw, chance: [raw.headers(1, ("x", "v" * 15_000), end=True)]),
    "headers that are none": _once(lambda raw, chance: [raw.headers(1, (":status", "200"), ("Upper", "case"), ("connection", "close"))]),
    "a window beyond all bounds": _once(lambda raw, chance: [http2.WindowUpdateFrame(0, window_increment=2**31 - 1)] * 2),
    "no window": _once(lambda raw, chance: [http2.SettingsFrame(0, settings={4: 0}), raw.headers(1), data(1, message(b""))]),
    "requests that never end": _once(lambda raw, chance: [raw.headers(stream) for stream in range(1, 201, 2)]),
    "a length that is a lie": _once(
        lambda raw, chance: [raw.headers(1), data(1, message(b"x", length=chance.choice([2, 2**31, 2**32 - 1])))]
    ),
    "compressed without a word": _once(lambda raw, chance: [raw.headers(1), data(1, message(b"abc", flag=chance.choice([1, 2, 255])))]),
    "a bomb": _once(lambda raw, chance: [raw.headers(1, ("grpc-encoding", "gzip")), data(1, message(_BOMB, flag=1))]),
    "a path that is no text": _once(lambda raw, chance: [raw.headers(1, end=True, path=b"/\xb1" + chance.randbytes(8))]),
    "a stream of the server's": _once(lambda raw, chance: [raw.headers(2)]),
    "a frame too large": _once(lambda raw, chance: [b"\xff\xff\xff\x00\x00\x00\x00\x00\x01" + b"x" * 20_000]),
    "a timeout that is none": _once(
        lambda raw, chance: [raw.headers(1, ("grpc-timeout", chance.choice(["-1S", "99999999999S", "x", ""])))]
    ),
    "bytes": _once(lambda raw, chance: [chance.randbytes(4096)]),
    "no beginning": _no_preface,
    "a damaged request": _once(_damaged),
    "a frame by chance": _once(_random_frame),
}
"""What is done to a connection, by its name. The last two are another thing each time."""
