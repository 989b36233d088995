"""The services behind the gateway: a channel to each of their replicas, and any of their RPCs by its descriptor."""

import secrets
from collections.abc import AsyncGenerator, Callable
from types import TracebackType
from typing import Any, Final, Self

from google.protobuf.message import Message

from parade.v1 import audit_pb2, dispatcher_pb2, key_pb2, key_pb2_grpc, refusal_pb2, refusal_pb2_grpc, scheduler_pb2
from parade.wire.errors import ParadeError, Reason, Violation, invalid
from parade.wire.identity import Identity
from parade.wire.replicas import Replicas
from parade.wire.session.caller import SessionCaller
from parade.wire.session.link import Link
from parade.wire.session.methods import DISPATCHER_SESSION
from parade_chassis.lifecycle import Process
from parade_gateway.caller import Caller
from parade_gateway.config import Config
from parade_gateway.routes import Route, message_class

WITH_AUDIT_LOG: Final = ("agent_manager", "dispatcher", "monitor", "scheduler")
"""The services that keep an audit log. They serve one contract, and its requests name the one that is asked."""
REPORT_TIMEOUT: Final = 2.0
"""Seconds that the agent_manager may take for a report."""
_AUDIT_REQUESTS: Final = (
    audit_pb2.ListAuditRequest,
    audit_pb2.ExportAuditRequest,
    audit_pb2.VerifyAuditRequest,
    audit_pb2.GetAuditCheckpointRequest,
)


class Upstream:
    """The channels, made when they are first needed."""

    def __init__(self, process: Process[Config]) -> None:
        """Takes the process, whose configuration says where the services are."""
        self._process = process
        self._channels: dict[str, Replicas] = {}
        self._callers: dict[str, Callable[..., Any]] = {}
        self._keys: key_pb2_grpc.KeyServiceAsyncStub | None = None
        self._link: Link | None = None
        self._dispatcher: SessionCaller | None = None

    async def __aenter__(self) -> Self:
        """Returns itself; the channels are closed at the end of the block."""
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Ends the session and closes the channels."""
        if self._link is not None:
            await self._link.close()
        for channel in self._channels.values():
            await channel.close()

    async def call(self, route: Route, request: Message, caller: Caller, timeout: float | None) -> Message:
        """Calls an RPC with one answer.

        Raises:
            ParadeError: What the service answered, or UNAVAILABLE where there is none.
        """
        _name(request)
        response: Message = await self._caller(route, request)(request, timeout=timeout, metadata=caller.metadata)
        return response

    def stream(self, route: Route, request: Message, caller: Caller, timeout: float | None) -> AsyncGenerator[Message]:
        """Calls an RPC with a stream of answers, which are fetched as they are asked for.

        Raises:
            ParadeError: UNAVAILABLE where the service is nowhere; what it answers is raised by the stream.
        """
        stream: AsyncGenerator[Message] = self._caller(route, request)(request, timeout=timeout, metadata=caller.metadata)
        return stream

    async def authenticate(self, request: key_pb2.AuthenticateKeyRequest, timeout: float) -> key_pb2.AuthenticateKeyResponse:
        """Asks the agent_manager whose key this is.

        Raises:
            ParadeError: What it answered, or UNAVAILABLE where there is none.
        """
        if self._keys is None:
            self._keys = key_pb2_grpc.KeyServiceStub(self.channel("agent_manager").for_stubs())
        return await self._keys.AuthenticateKey(request, timeout=timeout)

    async def report(self, request: refusal_pb2.ReportRefusalsRequest) -> refusal_pb2.ReportRefusalsResponse:
        """Tells the agent_manager who was refused.

        Raises:
            ParadeError: What it answered, or UNAVAILABLE where there is none.
        """
        stub = refusal_pb2_grpc.RefusalServiceStub(self.channel("agent_manager").for_stubs())
        response: refusal_pb2.ReportRefusalsResponse = await stub.ReportRefusals(request, timeout=REPORT_TIMEOUT)
        return response

    def dispatcher(self) -> SessionCaller:
        """Returns the session with the dispatcher, which opens with the first call.

        Raises:
            ParadeError: UNAVAILABLE where this gateway knows of no dispatcher.
        """
        if self._dispatcher is None:
            self._link = Link(self.channel("dispatcher").channels, DISPATCHER_SESSION, log=self._process.log)
            self._dispatcher = SessionCaller(self._link)
        return self._dispatcher

    def _caller(self, route: Route, request: Message) -> Callable[..., Any]:
        named = _service_of(request)
        key = named + route.rpc
        if key not in self._callers:
            channel = self.channel(named or route.service)
            make = channel.unary_stream if route.streams else channel.unary_unary
            input_class, output_class = message_class(route.method.input_type), message_class(route.method.output_type)
            self._callers[key] = make(route.rpc, input_class.SerializeToString, output_class.FromString)
        return self._callers[key]

    def channel(self, service: str) -> Replicas:
        """Returns the channels to the replicas of a service.

        Raises:
            ParadeError: UNAVAILABLE where this gateway has not been told where it is.
        """
        if service not in self._channels:
            target = getattr(self._process.config, service, "")
            if not target:
                raise ParadeError(Reason.UNAVAILABLE, f"this gateway has not been told where the {service} is")
            server_name = Identity.service(service, self._process.config.domain).server_name
            self._channels[service] = Replicas.at(target, self._process.certificates, server_name, peer=service)
        return self._channels[service]


def _service_of(request: Message) -> str:
    """Returns the service that a request names where several serve its contract; an empty text for all others.

    Raises:
        ParadeError: INVALID_ARGUMENTS, where there is no such service.
    """
    if not isinstance(request, _AUDIT_REQUESTS):
        return ""
    if request.service not in WITH_AUDIT_LOG:
        raise invalid([Violation("service", f"must be one of {', '.join(WITH_AUDIT_LOG)}")])
    return request.service


def _name(request: Message) -> None:
    """Names a request that starts something, so that another replica can be asked where one is lost, and nothing starts twice."""
    if isinstance(request, dispatcher_pb2.StartCallRequest) and not request.options.call_id:
        request.options.call_id = secrets.token_hex(16)
    elif isinstance(request, scheduler_pb2.StartRunRequest) and not request.request_id:
        request.request_id = secrets.token_hex(16)
