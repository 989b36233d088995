"""A client's side of a connection: it shows the newest certificate, bounds what is outstanding and speaks in `ParadeError`."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable
from typing import Any, Self, cast

import grpc
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from parade.wire.certificates import Certificates, CertificateSource
from parade.wire.errors import ParadeError, Reason
from parade.wire.status import from_rpc_error
from parade.wire.tls import channel_credentials

MAX_MESSAGE_BYTES = 8 * 1024 * 1024
"""What a connection carries in one message: twice the largest value, so that a value too large is refused by name and not by gRPC."""
MAX_METADATA_BYTES = 64 * 1024
"""What the metadata of one message may hold: an error travels there with every fault it names."""
MAX_VALUE_BYTES = 4 * 1024 * 1024
"""The largest argument or result."""
DEFAULT_TIMEOUT = 30.0
"""Seconds that a unary call may take where its caller sets no deadline."""
MAX_OUTSTANDING = 512
"""Unary calls at once on one channel. Bursts of more than about 1,000 fail in grpc.aio, so the rest wait their turn here."""

OPTIONS: tuple[tuple[str, Any], ...] = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_metadata_size", MAX_METADATA_BYTES),
    ("grpc.absolute_max_metadata_size", 2 * MAX_METADATA_BYTES),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 3000),  # despite its name, how long one attempt to connect may take, handshake included
    ("grpc.max_reconnect_backoff_ms", 2000),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
)

_PROPAGATOR = TraceContextTextMapPropagator()

Metadata = tuple[tuple[str, str], ...]


def targets(text: str) -> tuple[str, ...]:
    """Returns the addresses that a text names: `host:port`, or several of them with commas between, one for each replica of a service."""
    return tuple(address.strip() for address in text.split(",") if address.strip())


class Channel:
    """A channel to one server, for use with the generated stubs.

    Unary calls get a deadline and wait while too many are outstanding. Every failure is raised as `ParadeError`. When the source has a new
    certificate, new calls go over a new connection and the calls of the old one finish on it.
    """

    def __init__(
        self, target: str, source: CertificateSource | None, server_name: str, *, trust_bundle: bytes = b"", peer: str = ""
    ) -> None:
        """Makes a channel; it connects at the first call.

        Args:
            target: "host:port".
            source: The certificates to show; None shows none, as before enrolment.
            server_name: The DNS name that the server's certificate must carry.
            trust_bundle: The roots to trust where there is no source, PEM.
            peer: What to call the server in errors.
        """
        self._target = target
        self._source = source
        self._trust_bundle = trust_bundle
        self._peer = peer or server_name.split(".", 1)[0]
        self._options = (*OPTIONS, ("grpc.ssl_target_name_override", server_name))
        self._outstanding = asyncio.Semaphore(MAX_OUTSTANDING)
        self._shown: Certificates | None = None
        self._channel: grpc.aio.Channel | None = None
        self._retired: dict[asyncio.Task[None], grpc.aio.Channel] = {}

    async def __aenter__(self) -> Self:
        """Returns the channel; it is closed at the end of the block."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Closes the channel."""
        await self.close()

    async def close(self) -> None:
        """Closes the connection; calls that run are cancelled."""
        for task, channel in list(self._retired.items()):
            task.cancel()
            await channel.close()
        if self._channel is not None:
            await self._channel.close()
            self._channel = None

    def for_stubs(self) -> grpc.aio.Channel:
        """Returns the channel as the generated stubs want it: they use no more of gRPC's channel than stands here."""
        return cast(grpc.aio.Channel, self)

    def unary_unary(self, path: str, request_serializer: Any, response_deserializer: Any, **_: Any) -> Callable[..., Any]:
        """Returns the caller of a method with one request and one response. Called by the generated stubs."""
        invoke = _PerConnection(lambda channel: channel.unary_unary(path, request_serializer, response_deserializer))

        async def call(request: Any, *, timeout: float | None = None, metadata: Metadata = ()) -> Any:
            limit = DEFAULT_TIMEOUT if timeout is None else timeout
            try:
                async with asyncio.timeout(limit):
                    await self._outstanding.acquire()
            except TimeoutError as error:
                raise ParadeError(Reason.DEADLINE_EXCEEDED, f"too many calls to {self._peer} are outstanding") from error
            try:
                return await invoke(self._connection())(request, timeout=limit, metadata=_traced(metadata))
            except grpc.aio.AioRpcError as error:
                raise from_rpc_error(error, service=self._peer) from error
            finally:
                self._outstanding.release()

        return call

    def unary_stream(self, path: str, request_serializer: Any, response_deserializer: Any, **_: Any) -> Callable[..., Any]:
        """Returns the caller of a method with one request and a stream of responses. Called by the generated stubs."""
        invoke = _PerConnection(lambda channel: channel.unary_stream(path, request_serializer, response_deserializer))

        def call(request: Any, *, timeout: float | None = None, metadata: Metadata = ()) -> AsyncIterator[Any]:
            return self._responses(lambda: invoke(self._connection())(request, timeout=timeout, metadata=_traced(metadata)))

        return call

    def stream_stream(self, path: str, request_serializer: Any, response_deserializer: Any, **_: Any) -> Callable[..., Any]:
        """Returns the caller of a method with streams in both directions. Called by the generated stubs."""
        invoke = _PerConnection(lambda channel: channel.stream_stream(path, request_serializer, response_deserializer))

        def call(requests: AsyncIterable[Any], *, timeout: float | None = None, metadata: Metadata = ()) -> AsyncIterator[Any]:
            return self._responses(lambda: invoke(self._connection())(requests, timeout=timeout, metadata=_traced(metadata)))

        return call

    def stream_unary(self, path: str, request_serializer: Any, response_deserializer: Any, **_: Any) -> Callable[..., Any]:
        """Returns the caller of a method with a stream of requests and one response. Called by the generated stubs."""
        invoke = _PerConnection(lambda channel: channel.stream_unary(path, request_serializer, response_deserializer))

        async def call(requests: AsyncIterable[Any], *, timeout: float | None = None, metadata: Metadata = ()) -> Any:
            # The requests are written here, not by gRPC, which would hide what an iterator raises behind a cancellation.
            started = invoke(self._connection())(timeout=timeout, metadata=_traced(metadata))
            try:
                # Where a write fails the server has answered before it has read everything, and what it said comes after.
                try:
                    async for request in requests:
                        await started.write(request)
                    await started.done_writing()
                except (asyncio.InvalidStateError, grpc.aio.AioRpcError):
                    await _answered(started)
                return await started
            except grpc.aio.AioRpcError as error:
                raise from_rpc_error(error, service=self._peer) from error
            finally:
                started.cancel()

        return call

    @property
    def peer(self) -> str:
        """What the server is called in errors, and where it is."""
        return f"{self._peer} at {self._target}"

    @property
    def renewed(self) -> bool:
        """Whether there is a newer certificate than the one that the connection shows."""
        return self._source is not None and self._channel is not None and self._source.current() is not self._shown

    def open_stream(self, path: str, serializer: Any, deserializer: Any) -> Any:
        """Opens a stream in both directions and returns gRPC's call, to be read and written as it stands: it raises what gRPC raises."""
        return self._connection().stream_stream(path, serializer, deserializer)()

    def drop(self) -> None:
        """Leaves the connection, on which nothing comes any more, to the calls that wait on it; the next call makes another."""
        if self._channel is not None:
            self._retire(self._channel)
            self._channel = None

    async def _responses(self, start: Callable[[], Any]) -> AsyncIterator[Any]:
        call = start()
        shown = self._shown
        try:
            async for response in call:
                yield response
        except grpc.aio.AioRpcError as error:
            failure = from_rpc_error(error, service=self._peer)
            if failure.reason is Reason.UNAUTHENTICATED and self._source is not None and self._source.current() is not shown:
                # The stream has outlived its certificate, not its welcome: whoever opens it again shows the newer one.
                failure = ParadeError(Reason.UNAVAILABLE, f"{self._peer} ended a stream that was opened with a former certificate")
            raise failure from error
        finally:
            call.cancel()

    def _connection(self) -> grpc.aio.Channel:
        newest = self._source.current() if self._source is not None else None
        if self._channel is None or newest is not self._shown:
            if self._channel is not None:
                self._retire(self._channel)
            credentials = channel_credentials(newest) if newest is not None else grpc.ssl_channel_credentials(self._trust_bundle)
            self._channel = grpc.aio.secure_channel(self._target, credentials, self._options)
            self._shown = newest
        return self._channel

    def _retire(self, channel: grpc.aio.Channel) -> None:
        # An hour is longer than any call may take; a watch that lives on is opened again by its reader.
        task = asyncio.create_task(channel.close(grace=3600))
        self._retired[task] = channel
        task.add_done_callback(lambda done: self._retired.pop(done, None))


async def _answered(call: Any) -> None:
    # gRPC says of a call whose write has failed that the fault is its own, until the server's answer has come in.
    for _ in range(100):
        if not str(await call.details()).startswith('Failed "execute_batch"'):
            return
        await asyncio.sleep(0.01)


class _PerConnection:
    """One method's callable, made anew only for a new connection."""

    def __init__(self, make: Callable[[grpc.aio.Channel], Any]) -> None:
        self._make = make
        self._channel: grpc.aio.Channel | None = None
        self._callable: Any = None

    def __call__(self, channel: grpc.aio.Channel) -> Any:
        if channel is not self._channel:
            self._channel, self._callable = channel, self._make(channel)
        return self._callable


def _traced(metadata: Metadata) -> Metadata:
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier)
    return (*metadata, *carrier.items()) if carrier else metadata
