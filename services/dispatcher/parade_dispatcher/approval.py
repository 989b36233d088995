"""The approval that a call needs: what exactly somebody is asked to let through, and what they said. Pure."""

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

import orjson

from parade.wire.audit import Kind
from parade.wire.errors import ParadeError, Reason
from parade.wire.redaction import masked, scrubbed
from parade.wire.roles import Role
from parade_chassis.audit import Record
from parade_chassis.policies import Decision
from parade_dispatcher.model import Content, Request

SHOWN: Final = 8 * 1024
"""Characters of the arguments that are kept for people."""
MARGIN: Final = 256
"""Characters beyond those that are looked through for secrets: enough to tell one that the cut goes through."""
MOST_RULES: Final = 10
"""Rules that an approval names."""


class ApprovalState(StrEnum):
    """Where an approval stands: the names of `parade.v1.ApprovalState` without their prefix."""

    PENDING = "PENDING"
    APPROVED = "APPROVED"
    REJECTED = "REJECTED"
    WITHDRAWN = "WITHDRAWN"
    """Its time passed, or the call was cancelled."""


@dataclass(frozen=True, slots=True)
class Approval:
    """One approval. It is for one call, whose arguments are bound by their hash."""

    id: str
    """Follows from what it binds, so that the same call finds it again, at whichever dispatcher."""
    namespace: str
    function: str
    """`agent.function`."""
    arguments_hash: str
    """SHA-256 of the arguments in hexadecimal digits, or the digest of the artifact."""
    arguments: str
    """What people see of them: without secrets, and not more than `SHOWN` characters."""
    arguments_size: int
    """How many bytes they have."""
    principal: str
    """Whom the call is for."""
    actors: tuple[str, ...]
    """The agents that call for it, the last one first."""
    call_id: str
    run_id: str
    step: str
    rules: tuple[str, ...]
    """Which rules demand it."""
    approver: Role
    """The least role that may resolve it."""
    create_time: datetime
    expire_time: datetime
    """Until when it can be resolved, and used."""
    state: ApprovalState = ApprovalState.PENDING
    resolve_time: datetime | None = None
    by: str = ""
    """Who resolved it."""
    note: str = ""
    """What they said to it."""

    def at(self, now: datetime) -> "Approval":
        """Returns it as it is at a time: one that nobody has resolved is withdrawn when its time is over."""
        if self.state is ApprovalState.PENDING and now >= self.expire_time:
            return replace(self, state=ApprovalState.WITHDRAWN, resolve_time=self.expire_time)
        return self


@dataclass(frozen=True, slots=True)
class ApprovalFilter:
    """Which approvals are wanted: those that all of it fits."""

    namespace: str
    states: frozenset[ApprovalState]
    function: str = ""
    """`agent.function`; of all where empty."""
    resolver: str = ""
    """Only those that this subject may resolve; all where empty."""
    role: Role = Role.NONE
    """What that subject may do."""


def asked(request: Request, demand: Decision, now: datetime, lifetime: timedelta) -> Approval:
    """Makes the approval that a call needs.

    Args:
        request: The call.
        demand: What the policies say of it.
        now: The time.
        lifetime: How long it can be resolved, and used.
    """
    arguments, step, actors = request.arguments, request.step, request.scope.actors
    digest, size = _bound(arguments)
    call = [bool(request.idempotency_key), request.idempotency_key or request.call_id]
    bound = orjson.dumps([request.namespace, request.principal, actors, request.full_name, digest, *call])
    return Approval(
        id=f"approval_{hashlib.sha256(bound).hexdigest()[:32]}",
        namespace=request.namespace,
        function=request.full_name,
        arguments_hash=digest,
        arguments=_shown(arguments, request.secrets),
        arguments_size=size,
        principal=request.principal,
        actors=actors,
        call_id=request.call_id,
        run_id=step.run_id if step is not None else request.run_id,
        step=step.step if step is not None else "",
        rules=demand.rules[:MOST_RULES],
        approver=demand.approver,
        create_time=now,
        expire_time=now + lifetime,
    )


def required(approval: Approval) -> ParadeError:
    """Makes the error for a call that nobody has approved so far."""
    message = (
        f"{approval.function} needs the approval of an {approval.approver.label} for these arguments, as {_rules(approval)} demands, and"
        f" has none so far. Somebody else than {approval.principal} can give it: `parade approve {approval.id}`; then make the same call"
        f" again, by its idempotency key or with the call id {approval.call_id}"
    )
    return ParadeError(Reason.APPROVAL_REQUIRED, message, metadata={"approval": approval.id, "approver": approval.approver.label})


def refused(approval: Approval) -> ParadeError:
    """Makes the error for a call that somebody rejected, or whose approval was withdrawn."""
    if approval.state is ApprovalState.REJECTED:
        why = f"{approval.by} has rejected it" + (f": {approval.note}" if approval.note else "")
    else:
        why = "its approval was withdrawn, for it was cancelled or nobody resolved it in time; make another call to ask again"
    message = f"{approval.function} may not be called with these arguments: {why}"
    return ParadeError(Reason.PERMISSION_DENIED, message, metadata={"approval": approval.id})


def outdated(approval: Approval, demand: Decision) -> ParadeError:
    """Makes the error for a call whose approval is less than what the policies demand by now."""
    message = (
        f"{approval.function} needs the approval of an {demand.approver.label} by now, and has that of an {approval.approver.label};"
        " make another call to ask again"
    )
    return ParadeError(Reason.PERMISSION_DENIED, message, metadata={"approval": approval.id})


def record(approval: Approval, method: str, now: datetime) -> Record:
    """Makes what the audit log says of an approval that was resolved.

    Args:
        approval: The approval.
        method: The full name of the method by which that was done.
        now: When.
    """
    facts = {
        "approved": approval.state is ApprovalState.APPROVED,
        "function": approval.function,
        "principal": approval.principal,
        "arguments_hash": approval.arguments_hash,
        "rules": approval.rules,
        "note": approval.note,
    }
    return Record(Kind.APPROVAL, method, approval.by, approval.namespace, f"call-approvals/{approval.id}", now, facts)


def not_found(approval_id: str, namespace: str) -> ParadeError:
    """Makes the error for an approval that does not exist."""
    message = f"there is no approval {approval_id!r} of a call in namespace {namespace}; they are kept for a day after their end"
    return ParadeError(Reason.NOT_FOUND, message)


def own(approval: Approval) -> ParadeError:
    """Makes the error for somebody who would approve their own call."""
    message = f"{approval.id} is for a call of {approval.principal}, who cannot resolve it; somebody else must"
    return ParadeError(Reason.PERMISSION_DENIED, message, metadata={"approval": approval.id})


def resolved_otherwise(approval: Approval) -> ParadeError:
    """Makes the error for an approval that has been resolved, or whose time is over."""
    if approval.state is ApprovalState.WITHDRAWN:
        message = f"nobody waits for {approval.id} any more"
    else:
        message = f"{approval.id} was {approval.state.lower()} by {approval.by} already"
    return ParadeError(Reason.FAILED_PRECONDITION, message, metadata={"approval": approval.id})


def _rules(approval: Approval) -> str:
    return " and ".join(approval.rules) or "a policy"


def _bound(arguments: Content) -> tuple[str, int]:
    if isinstance(arguments, bytes):
        return hashlib.sha256(arguments).hexdigest(), len(arguments)
    return arguments.digest.removeprefix("sha256:"), arguments.size


def _shown(arguments: Content, secrets: tuple[str, ...]) -> str:
    if not isinstance(arguments, bytes):
        return orjson.dumps({"artifact": arguments.digest}).decode()
    text = arguments[: SHOWN + MARGIN].decode(errors="replace")
    return scrubbed(masked(text, secrets))[:SHOWN]
