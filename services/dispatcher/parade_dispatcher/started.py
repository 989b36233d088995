"""The part of DispatcherService that is about started calls: decodes, asks for them, encodes."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from parade.v1 import call_pb2, dispatcher_pb2, dispatcher_pb2_grpc, value_pb2
from parade.wire.errors import Violation, invalid
from parade.wire.status import to_record
from parade_chassis import paging
from parade_chassis.context import current, minds_its_own, require_own, required_namespace
from parade_dispatcher import convert
from parade_dispatcher.calls import StartedCalls
from parade_dispatcher.changes import CallFilter, CallState, Key, StartedCall
from parade_dispatcher.model import Content

DEFAULT_WAIT: Final = 30.0
LONGEST_WAIT: Final = 300.0
"""Seconds that WaitCall waits where its caller does not say, and at most."""
MARGIN: Final = 0.1
"""Seconds before the RPC's deadline at which WaitCall answers, so that the answer arrives."""
ROOM: Final = 6 * 1024 * 1024
"""Bytes that the arguments and the result may have together to stand in one answer; the arguments are left out beyond it."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_Context = grpc.aio.ServicerContext[Any, Any]


class StartedCallsServicer(dispatcher_pb2_grpc.DispatcherServiceServicer):
    """Serves started calls."""

    def __init__(self, started: StartedCalls) -> None:
        """Takes the started calls."""
        self._started = started

    async def StartCall(self, request: dispatcher_pb2.StartCallRequest, context: _Context) -> dispatcher_pb2.StartCallResponse:
        """Starts a call that outlives its caller."""
        if request.options.secrets:
            fault = "cannot be given: what a call is started with is kept on record; let its function read its secrets itself"
            raise invalid([Violation("options.secrets", fault)])
        asked = dispatcher_pb2.CallRequest(function=request.function, arguments=request.arguments, options=request.options)
        if request.HasField("timeout"):
            asked.timeout.CopyFrom(request.timeout)
        # Whoever starts a call need not wait for it: the RPC's own deadline is not the call's.
        call = await self._started.start(convert.request(asked, current(), required_namespace(), None))
        return dispatcher_pb2.StartCallResponse(call=_call(call))

    async def GetCall(self, request: dispatcher_pb2.GetCallRequest, context: _Context) -> dispatcher_pb2.GetCallResponse:
        """Returns a call and its items."""
        key = _key(request.call_id, request.items_after)
        call = await self._started.get(key)
        return dispatcher_pb2.GetCallResponse(call=_call(call), items=await self._items(call, request.items_after))

    async def WaitCall(self, request: dispatcher_pb2.WaitCallRequest, context: _Context) -> dispatcher_pb2.WaitCallResponse:
        """Waits for a call."""
        key = _key(request.call_id, request.items_after)
        timeout = DEFAULT_WAIT
        if request.HasField("timeout"):
            timeout = min(max(0.0, request.timeout.seconds + request.timeout.nanos / 1e9), LONGEST_WAIT)
        remaining = context.time_remaining()
        if remaining is not None:
            timeout = max(0.0, min(timeout, remaining - MARGIN))
        items_after = request.items_after if request.HasField("items_after") else None
        call = await self._started.wait(key, items_after, timeout)
        return dispatcher_pb2.WaitCallResponse(call=_call(call), items=await self._items(call, request.items_after))

    async def CancelCall(self, request: dispatcher_pb2.CancelCallRequest, context: _Context) -> dispatcher_pb2.CancelCallResponse:
        """Cancels a call."""
        key = _key(request.call_id)
        if minds_its_own():
            require_own((await self._started.get(key)).request.principal, f"call {request.call_id}")
        return dispatcher_pb2.CancelCallResponse(call=_call(await self._started.cancel(key)))

    async def ListCalls(self, request: dispatcher_pb2.ListCallsRequest, context: _Context) -> dispatcher_pb2.ListCallsResponse:
        """Returns the calls that were started, newest first."""
        wanted = _filter(request, required_namespace())
        size = paging.size_of(request.page_size)
        scope = f"calls {wanted.namespace} {request.function} {sorted(wanted.states)} {wanted.since}"
        last = paging.last_of(scope, request.page_token)
        before = None
        if last:
            micros, _, id = last.partition("/")
            before = (_EPOCH + timedelta(microseconds=paging.whole(micros)), id)
        messages = [_call(call, brief=True) for call in await self._started.find(wanted, before, size + 1)]
        page, token = paging.page_of(messages, size, scope, _place, lambda message: message.ByteSize())
        return dispatcher_pb2.ListCallsResponse(calls=page, next_page_token=token)

    async def _items(self, call: StartedCall, after: int) -> list[value_pb2.Value]:
        if call.item_count <= after:
            return []
        return [convert.value(item) for item in await self._started.items(call.key, after)]


def _key(call_id: str, items_after: int = 0) -> Key:
    faults = []
    if not call_id:
        faults.append(Violation("call_id", "is missing"))
    if items_after < 0:
        faults.append(Violation("items_after", "must not be negative"))
    if faults:
        raise invalid(faults)
    return required_namespace(), call_id


def _filter(request: dispatcher_pb2.ListCallsRequest, namespace: str) -> CallFilter:
    agent, _, function = request.function.partition(".")
    states = set()
    for number in request.states:
        try:
            states.add(CallState(call_pb2.CallState.Name(number).removeprefix("CALL_STATE_")))
        except ValueError as error:
            raise invalid([Violation("states", f"holds {number}, which is no state of a call")]) from error
    since = None
    if request.HasField("start_time"):
        try:
            since = request.start_time.ToDatetime(tzinfo=UTC)
        except ValueError as error:
            raise invalid([Violation("start_time", str(error))]) from error
    return CallFilter(namespace, agent, function, frozenset(states), since)


def _place(message: call_pb2.Call) -> str:
    return f"{message.create_time.seconds * 1_000_000 + message.create_time.nanos // 1000}/{message.id}"


def _call(call: StartedCall, *, brief: bool = False) -> call_pb2.Call:
    request = call.request
    message = call_pb2.Call(
        id=call.id,
        function=request.full_name,
        state=call_pb2.CallState.Value(f"CALL_STATE_{call.state}"),
        item_count=call.item_count,
        instance_id=call.instance_id,
        attempts=call.attempts,
        cancellation=convert.cancellation_number(call.cancellation),
        principal=request.principal,
        create_time=_timestamp(call.create_time),
    )
    if call.progress is not None:
        message.progress.CopyFrom(convert.progress_message(call.progress))
    if call.error is not None:
        message.error.CopyFrom(to_record(call.error))
    if call.timing is not None:
        message.timing.CopyFrom(convert.timing(call.timing))
    if call.end_time is not None:
        message.end_time.CopyFrom(_timestamp(call.end_time))
    if brief:
        return message
    if call.result is not None:
        convert.put(message.result, call.result)
    if _size(call.result) + _size(request.arguments) <= ROOM:
        convert.put(message.arguments, request.arguments)
    return message


def _timestamp(time: datetime) -> Timestamp:
    message = Timestamp()
    message.FromDatetime(time)
    return message


def _size(content: Content | None) -> int:
    return len(content) if isinstance(content, bytes) else 0
