"""A lean HTTP/1.1 client as a program of its own: one keep-alive connection for each call in flight.

Arguments: host, port, path, the file with the key, the body. It takes orders as the rivals' programs do, one a line: how many calls in
flight, how many in all. A general client would measure itself.
"""

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import cast

from uvloop import new_event_loop


class Connection(asyncio.Protocol):
    """One connection with one request at a time."""

    def __init__(self, request: bytes, remaining: list[int], latencies: list[float], ended: asyncio.Event) -> None:
        """Takes what all connections share.

        Args:
            request: The request, encoded.
            remaining: How many requests are still to be made, and how many failed.
            latencies: Where the seconds go that each request took.
            ended: Set when the last answer is there.
        """
        self._request = request
        self._remaining = remaining
        self._latencies = latencies
        self._ended = ended
        self._buffer = b""
        self._started = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Makes the first request."""
        self._transport = cast(asyncio.Transport, transport)
        self._next()

    def data_received(self, data: bytes) -> None:
        """Takes a part of an answer."""
        if self._buffer:
            data = self._buffer + data
        head = data.find(b"\r\n\r\n")
        if head < 0:
            self._buffer = data
            return
        lower = data[:head].lower()
        place = lower.find(b"content-length:")
        if place < 0:
            raise ValueError(f"an answer without a length: {lower!r}")
        length = int(lower[place + 15 :].split(b"\r\n", 1)[0])
        if len(data) < head + 4 + length:
            self._buffer = data
            return
        if data.startswith(b"HTTP/1.1 200"):
            self._latencies.append(time.perf_counter() - self._started)
        else:
            self._remaining[1] += 1
        self._buffer = b""
        self._next()

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002  # asyncio's signature
        """Ends the run early: its figures show too few answers."""
        self._ended.set()

    def _next(self) -> None:
        if self._remaining[0] > 0:
            self._remaining[0] -= 1
            self._started = time.perf_counter()
            self._transport.write(self._request)
        else:
            self._ended.set()


async def closed(host: str, port: int, request: bytes, concurrency: int, count: int) -> dict[str, object]:
    """Keeps so many calls in flight until so many are done."""
    loop = asyncio.get_running_loop()
    remaining, latencies = [count, 0], list[float]()
    connections: list[asyncio.Transport] = []
    ends = [asyncio.Event() for _ in range(concurrency)]
    started = time.perf_counter()

    def made(ended: asyncio.Event) -> Connection:
        return Connection(request, remaining, latencies, ended)

    for ended in ends:
        transport, _ = await loop.create_connection(lambda ended=ended: made(ended), host, port)  # type: ignore[misc]  # mypy sees no default
        connections.append(transport)
    for ended in ends:
        await ended.wait()
    seconds = time.perf_counter() - started
    for transport in connections:
        transport.close()
    return {"seconds": seconds, "latencies": latencies, "failed": count - len(latencies)}


async def main(host: str, port: int, path: str, key: Path, body: str) -> None:
    """Takes orders."""
    request = (
        f"POST {path} HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: Bearer {key.read_text().strip()}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body.encode())}\r\n\r\n{body}"
    ).encode()
    print("ready", flush=True)
    while order := await asyncio.to_thread(sys.stdin.readline):
        concurrency, count = map(int, order.split())
        print(json.dumps(await closed(host, port, request, concurrency, count)), flush=True)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=new_event_loop) as runner:  # the client's own share of a machine's two cores is no part of the mesh
        runner.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3], Path(sys.argv[4]), sys.argv[5]))
