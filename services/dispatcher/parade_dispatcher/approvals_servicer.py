"""The part of DispatcherService that is about the approvals of calls: decodes, asks for them, encodes."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from parade.v1 import approval_pb2, call_approval_pb2, dispatcher_pb2_grpc
from parade.wire.errors import Violation, invalid
from parade.wire.role_numbers import number_of
from parade_chassis import paging
from parade_chassis.context import current, required_namespace
from parade_chassis.grants import lacking
from parade_dispatcher.approval import Approval, ApprovalFilter, ApprovalState, own
from parade_dispatcher.approvals import Approvals

MAX_NOTE: Final = 1000
"""Characters of what somebody says to an approval."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f]")
"""What a text for people must not hold: control characters but tabs and line ends."""
_Context = grpc.aio.ServicerContext[Any, Any]


class CallApprovalsServicer(dispatcher_pb2_grpc.DispatcherServiceServicer):
    """Serves the approvals of calls."""

    def __init__(self, approvals: Approvals) -> None:
        """Takes the approvals."""
        self._approvals = approvals

    async def ListCallApprovals(
        self, request: call_approval_pb2.ListCallApprovalsRequest, context: _Context
    ) -> call_approval_pb2.ListCallApprovalsResponse:
        """Returns approvals, the oldest first."""
        wanted = _filter(request, required_namespace())
        size = paging.size_of(request.page_size)
        scope = f"call approvals {wanted.namespace} {wanted.function} {sorted(wanted.states)} {wanted.resolver}"
        after = None
        if last := paging.last_of(scope, request.page_token):
            micros, _, id = last.partition("/")
            after = (_EPOCH + timedelta(microseconds=int(micros)), id)
        messages = [_message(approval) for approval in await self._approvals.find(wanted, after, size + 1)]
        page, token = paging.page_of(messages, size, scope, _place, lambda message: message.ByteSize())
        return call_approval_pb2.ListCallApprovalsResponse(approvals=page, next_page_token=token)

    async def GetCallApproval(
        self, request: call_approval_pb2.GetCallApprovalRequest, context: _Context
    ) -> call_approval_pb2.GetCallApprovalResponse:
        """Returns an approval."""
        approval = await self._approvals.get(required_namespace(), _id(request.approval_id))
        return call_approval_pb2.GetCallApprovalResponse(approval=_message(approval))

    async def ResolveCallApproval(
        self, request: call_approval_pb2.ResolveCallApprovalRequest, context: _Context
    ) -> call_approval_pb2.ResolveCallApprovalResponse:
        """Approves or rejects a call."""
        id, note, who = _id(request.approval_id), _note(request.note), current()
        approval = await self._approvals.get(required_namespace(), id)
        if who.role < approval.approver:
            raise lacking(who.principal, who.namespace, who.role, approval.approver, f"to resolve {id}")
        if who.principal == approval.principal:
            raise own(approval)
        state = ApprovalState.APPROVED if request.approved else ApprovalState.REJECTED
        resolved = replace(approval, state=state, by=who.principal, note=note)
        return call_approval_pb2.ResolveCallApprovalResponse(approval=_message(await self._approvals.resolve(resolved, who.method)))


def _id(approval_id: str) -> str:
    if not approval_id:
        raise invalid([Violation("approval_id", "is missing")])
    return approval_id


def _note(note: str) -> str:
    if len(note) > MAX_NOTE:
        raise invalid([Violation("note", f"has {len(note)} characters; at most {MAX_NOTE} are taken")])
    if _CONTROL.search(note):
        raise invalid([Violation("note", "must not hold control characters")])
    return note


def _filter(request: call_approval_pb2.ListCallApprovalsRequest, namespace: str) -> ApprovalFilter:
    states = set()
    for number in request.states:
        name = approval_pb2.ApprovalState.Name(number) if number in approval_pb2.ApprovalState.values() else ""
        name = name.removeprefix("APPROVAL_STATE_")
        if name not in ApprovalState.__members__:
            raise invalid([Violation("states", f"holds {number}, which is no state of an approval")])
        states.add(ApprovalState[name])
    who = current()
    wanted = ApprovalFilter(namespace, frozenset(states or {ApprovalState.PENDING}), request.function)
    return replace(wanted, resolver=who.principal, role=who.role) if request.mine else wanted


def _place(message: call_approval_pb2.CallApproval) -> str:
    return f"{message.create_time.ToMicroseconds()}/{message.id}"


def _message(approval: Approval) -> call_approval_pb2.CallApproval:
    message = call_approval_pb2.CallApproval(
        id=approval.id,
        function=approval.function,
        arguments=approval.arguments,
        arguments_size=approval.arguments_size,
        arguments_hash=approval.arguments_hash,
        principal=approval.principal,
        actors=approval.actors,
        call_id=approval.call_id,
        run_id=approval.run_id,
        step=approval.step,
        rules=approval.rules,
        approver=number_of(approval.approver),
        state=approval_pb2.ApprovalState.Value(f"APPROVAL_STATE_{approval.state}"),
        create_time=_timestamp(approval.create_time),
        expire_time=_timestamp(approval.expire_time),
        by=approval.by,
        note=approval.note,
    )
    if approval.resolve_time is not None:
        message.resolve_time.CopyFrom(_timestamp(approval.resolve_time))
    return message


def _timestamp(time: datetime) -> Timestamp:
    message = Timestamp()
    message.FromDatetime(time)
    return message
