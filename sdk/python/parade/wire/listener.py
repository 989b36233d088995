"""The gRPC server of every process of ours: that of `grpc.aio`, which nobody can stop by a request.

`grpc.aio` decodes the path of every request as UTF-8 in its main loop, and one that is none ends the loop and with it the server: whoever
reaches a port, with a certificate or without, could close it by a single request. Here the main loop gets no requests but those of the
methods that are served, which gRPC's core has recognised by their bytes. All others are answered UNIMPLEMENTED beside it, and their paths
are never looked at.
"""

import asyncio
from collections.abc import Sequence
from typing import Any
from warnings import warn

import grpc
from google.protobuf import descriptor_pool
from grpc._cython import cygrpc  # type: ignore[import-untyped,unused-ignore]
from grpc.aio import _server  # type: ignore[attr-defined,unused-ignore]

VERIFIED = ("1.85.",)
"""The versions of grpcio whose insides are as this module takes them. Any other serves as it comes, and says so."""


def server(
    *, interceptors: Sequence[grpc.aio.ServerInterceptor] = (), options: Sequence[tuple[str, Any]] = (), max_requests: int | None = None
) -> grpc.aio.Server:
    """Makes a server.

    Args:
        interceptors: What stands around every handler, the first outermost.
        options: What is set of gRPC.
        max_requests: Requests at once; the rest are refused with RESOURCE_EXHAUSTED.
    """
    if not grpc.__version__.startswith(VERIFIED):
        warn(
            f"grpcio {grpc.__version__} may close a port for a path that is not UTF-8; of {', '.join(VERIFIED)} it is known not to",
            stacklevel=2,
        )
        return grpc.aio.server(interceptors=interceptors, options=options, maximum_concurrent_rpcs=max_requests)
    return _Server(interceptors, options, max_requests)  # type: ignore[return-value,no-any-return,unused-ignore]


class _Server(_server.Server):  # it has no types
    """The server, over another listener."""

    def __init__(  # it does what its base does, and makes the listener
        self, interceptors: Sequence[grpc.aio.ServerInterceptor], options: Sequence[tuple[str, Any]], max_requests: int | None
    ) -> None:
        self._loop = cygrpc.get_working_loop()
        self._server = _Listener(self._loop, None, (), tuple(interceptors), tuple(options), max_requests)

    def add_generic_rpc_handlers(self, generic_rpc_handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        """Registers the methods by name: older generated code hands over a handler that finds them by their paths."""
        for handler in generic_rpc_handlers:
            service: Any = descriptor_pool.Default().FindServiceByName(handler.service_name())  # type: ignore[attr-defined,no-untyped-call,unused-ignore]
            found = {method.name: handler.service(_Asked(f"/{service.full_name}/{method.name}")) for method in service.methods}
            self.add_registered_method_handlers(service.full_name, {name: one for name, one in found.items() if one is not None})


class _Asked(grpc.HandlerCallDetails):
    """What a generic handler is asked by."""

    def __init__(self, method: str) -> None:
        self.method = method
        self.invocation_metadata = ()


class _Listener(cygrpc.AioServer):  # type: ignore[misc]  # it has no types
    """Takes requests from gRPC's core."""

    def _make_request_call_future(self, method: bytes | None) -> "asyncio.Task[Any]":
        """Returns what ends with the next request of a method; for None, which stands for all that is not served, with the server."""
        if method is not None:
            taken: asyncio.Task[Any] = super()._make_request_call_future(method)
            return taken
        return asyncio.get_running_loop().create_task(self._refuse())

    async def _refuse(self) -> None:
        loop, nothing, answers = asyncio.get_running_loop(), cygrpc._MethodResolver([], {}), set[asyncio.Task[None]]()  # noqa: SLF001
        while True:
            asked = await self._request_call()  # raises at the server's end
            answer = cygrpc._handle_rpc("", nothing, (), asked, loop, False)  # noqa: SLF001
            task = loop.create_task(cygrpc._schedule_rpc_coro(answer, asked, loop, ""))  # noqa: SLF001
            answers.add(task)
            task.add_done_callback(answers.discard)
