"""Between the contract's approvals and the scheduler's, both ways; pure."""

from parade.v1 import approval_pb2
from parade.v1 import scheduler_pb2 as pb
from parade_scheduler.approval import Approval, ApprovalFilter, ApprovalState, Resolution
from parade_scheduler.convert.fields import Fields
from parade_scheduler.convert.values import to_timestamp


def approval_filter(namespace: str, principal: str, request: pb.ListApprovalsRequest) -> ApprovalFilter:
    """Reads which approvals are wanted; those that wait where no state is named.

    Raises:
        ParadeError: INVALID_ARGUMENTS, where a state is none.
    """
    fields = Fields()
    states: set[ApprovalState] = set()
    for number in request.states:
        name = approval_pb2.ApprovalState.Name(number) if number in approval_pb2.ApprovalState.values() else ""
        name = name.removeprefix("APPROVAL_STATE_")
        if name in ApprovalState.__members__:
            states.add(ApprovalState[name])
        else:
            fields.fault("states", f"{number} is no state of an approval")
    fields.check("these approvals cannot be listed")
    return ApprovalFilter(
        namespace,
        frozenset(states or {ApprovalState.PENDING}),
        run=request.run_id,
        workflow=request.workflow,
        resolver=principal if request.mine else "",
    )


def resolution(request: pb.ResolveApprovalRequest) -> Resolution:
    """Reads what somebody says to an approval.

    Raises:
        ParadeError: INVALID_ARGUMENTS, naming every field at fault.
    """
    fields = Fields()
    result = Resolution(
        fields.required("run_id", request.run_id),
        fields.required("step", request.step),
        fields.whole("task", request.task),
        request.approved,
        fields.note("note", request.note),
    )
    fields.check("the approval cannot be resolved")
    return result


def to_approval(approval: Approval) -> approval_pb2.Approval:
    """Writes an approval."""
    return approval_pb2.Approval(
        run_id=approval.run,
        step=approval.step,
        task=approval.task,
        workflow=approval.workflow,
        message=approval.message,
        approvers=approval.approvers,
        state=approval_pb2.ApprovalState.Value(f"APPROVAL_STATE_{approval.state}"),
        create_time=to_timestamp(approval.create_time),
        expire_time=to_timestamp(approval.expire_time),
        resolve_time=to_timestamp(approval.resolve_time),
        by=approval.by,
        note=approval.note,
    )
