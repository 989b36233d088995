"""The calls that wait for somebody's approval, as a client sees them: a part of `parade.Mesh`."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from parade.pages import first
from parade.patience import patiently
from parade.v1 import approval_pb2, call_approval_pb2

if TYPE_CHECKING:
    from parade.v1.dispatcher_pb2_grpc import DispatcherServiceAsyncStub


class CallApprovals:
    """What policies let through only where somebody approves it. Answers come as the messages of `parade.v1`."""

    _dispatcher: "DispatcherServiceAsyncStub"

    async def call_approvals(
        self, *, states: Iterable[str] = (), function: str = "", mine: bool = False, limit: int = 100
    ) -> list[call_approval_pb2.CallApproval]:
        """Returns the calls that wait for somebody's approval, or have been resolved, the oldest first.

        Args:
            states: Only those in one of these states: PENDING, APPROVED, REJECTED, WITHDRAWN; those that wait where not given.
            function: Only those of this function, `agent.function`.
            mine: Only those that you may resolve.
            limit: How many at most.
        """
        request = call_approval_pb2.ListCallApprovalsRequest(
            states=[approval_pb2.ApprovalState.Value(f"APPROVAL_STATE_{state}") for state in states], function=function, mine=mine
        )
        return await first(self._dispatcher.ListCallApprovals, request, "approvals", limit)

    async def call_approval(self, approval_id: str) -> call_approval_pb2.CallApproval:
        """Returns the approval of a call; it is kept for a day after its end.

        Raises:
            ParadeError: NOT_FOUND.
        """
        request = call_approval_pb2.GetCallApprovalRequest(approval_id=approval_id)
        return (await patiently(lambda: self._dispatcher.GetCallApproval(request))).approval

    async def approve_call(self, approval_id: str, *, note: str = "") -> call_approval_pb2.CallApproval:
        """Lets a call through that waits for it. Approving twice is approving once.

        Args:
            approval_id: The approval's id, as the inbox and the error of the call say it.
            note: Why, for the record and for the caller.

        Raises:
            ParadeError: NOT_FOUND; PERMISSION_DENIED where the call is for you, or your role is too little; FAILED_PRECONDITION where it
                was rejected before, or its time is over.
        """
        return await self._resolve_call(approval_id, note, approved=True)

    async def reject_call(self, approval_id: str, *, note: str = "") -> call_approval_pb2.CallApproval:
        """Rejects a call that waits: it ends with PERMISSION_DENIED. Rejecting twice is rejecting once.

        Args:
            approval_id: The approval's id, as the inbox and the error of the call say it.
            note: Why, for the record and for the caller.

        Raises:
            ParadeError: As `approve_call`.
        """
        return await self._resolve_call(approval_id, note, approved=False)

    async def _resolve_call(self, approval_id: str, note: str, *, approved: bool) -> call_approval_pb2.CallApproval:
        request = call_approval_pb2.ResolveCallApprovalRequest(approval_id=approval_id, note=note, approved=approved)
        return (await patiently(lambda: self._dispatcher.ResolveCallApproval(request))).approval
