"""What an agent and its worker processes say to one another over a socket: messages with their kind and length before them.

Calls, results and events are those of a session; arguments and results are JSON in them. Nothing is pickled.
"""

import asyncio
from enum import IntEnum
from typing import Any, Protocol, cast

import orjson

from parade.v1 import session_pb2

HEAD = 5
"""Bytes before a message: four of its length, one of its kind."""


class Kind(IntEnum):
    """What a message is."""

    START = 1
    """To the worker, first: what it needs to become like its agent. JSON."""
    READY = 2
    """From the worker: its functions are there. Empty."""
    UNREADY = 3
    """From the worker: its functions are not there, and why. JSON, a text."""
    FRAME = 4
    """Either way: calls, and what comes of them. A worker calls functions of the mesh by it."""
    LOG = 5
    """From the worker: a log record for the monitor. JSON."""


class Owner(Protocol):
    """Who has one end of the socket."""

    def received(self, kind: Kind, body: bytes) -> None:
        """Takes a message."""
        ...

    def lost(self) -> None:
        """Learns that the other end is gone."""
        ...


class Pipe(asyncio.Protocol):
    """One end of the socket."""

    def __init__(self, owner: Owner) -> None:
        """Takes who listens."""
        self._owner = owner
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Takes what to write to."""
        self._transport = cast(asyncio.Transport, transport)  # not every event loop derives its transports from it

    def data_received(self, data: bytes) -> None:
        """Hands on each message that is whole."""
        buffer = self._buffer
        buffer += data
        place = 0
        while len(buffer) - place >= HEAD:
            end = place + HEAD + int.from_bytes(buffer[place : place + 4], "big")
            if len(buffer) < end:
                break
            kind, body = Kind(buffer[place + 4]), bytes(buffer[place + HEAD : end])
            place = end
            self._owner.received(kind, body)
        del buffer[:place]

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # as asyncio calls it
        """Says so."""
        self._owner.lost()

    def send(self, kind: Kind, body: bytes = b"") -> None:
        """Sends a message; what cannot be sent any more is dropped."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(b"".join((len(body).to_bytes(4, "big"), kind.to_bytes(1, "big"), body)))

    def send_json(self, kind: Kind, content: Any) -> None:
        """Sends a message of JSON."""
        self.send(kind, orjson.dumps(content, default=str))

    def send_frame(self, frame: session_pb2.SessionFrame) -> None:
        """Sends a frame."""
        self.send(Kind.FRAME, frame.SerializeToString())

    def close(self) -> None:
        """Closes this end."""
        if self._transport is not None:
            self._transport.abort()
