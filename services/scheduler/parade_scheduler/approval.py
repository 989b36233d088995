"""An approval: something that a run waits for somebody to approve, and who may."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from parade.wire.identity import Identity, Kind


class ApprovalState(StrEnum):
    """Where an approval stands: the names of `parade.v1.ApprovalState` without their prefix."""

    PENDING = "PENDING"
    APPROVED = "APPROVED"
    REJECTED = "REJECTED"
    WITHDRAWN = "WITHDRAWN"
    """Nobody waits for it any more: its time passed, or its run was cancelled."""


@dataclass(frozen=True, slots=True)
class Approval:
    """One approval, as it is kept."""

    namespace: str
    run: str
    step: str
    task: int
    """Which task of the step, counted from 0."""
    workflow: str
    message: str
    """What is to be approved, in the workflow's words."""
    approvers: tuple[str, ...]
    """Who may resolve it: SPIFFE ids, in which a `*` stands for any text without `/`; anybody who may call but agents where empty."""
    state: ApprovalState
    create_time: datetime
    """Since when it waits."""
    expire_time: datetime | None = None
    """Until when; None where it waits for ever."""
    resolve_time: datetime | None = None
    """When it was resolved or withdrawn."""
    by: str = ""
    """Who resolved it: a SPIFFE id."""
    note: str = ""
    """What they said to it."""


@dataclass(frozen=True, slots=True)
class ApprovalFilter:
    """Which approvals are wanted: those that all of it fits."""

    namespace: str
    states: frozenset[ApprovalState]
    run: str = ""
    workflow: str = ""
    resolver: str = ""
    """Only those that this SPIFFE id may resolve; all where empty."""


@dataclass(frozen=True, slots=True)
class Resolution:
    """What somebody says to an approval."""

    run: str
    step: str
    task: int
    approved: bool
    note: str = ""


def may_resolve(approvers: Sequence[str], principal: str) -> bool:
    """Tells whether somebody is one of the approvers.

    Where nobody is named people and programs may be, as their role allows, and no agent: who asks would often be who answers.
    """
    if approvers:
        return any(_fits(pattern, principal) for pattern in approvers)
    identity = Identity.parse(principal)
    return identity is None or identity.kind is not Kind.AGENT


def _fits(pattern: str, principal: str) -> bool:
    """Compares piece by piece, so that a pattern with many `*` takes no longer than its length and the text's."""
    wanted, given = pattern.split("/"), principal.split("/")
    return len(wanted) == len(given) and all(map(_piece_fits, wanted, given))


def _piece_fits(pattern: str, text: str) -> bool:
    first, *others = pattern.split("*")
    if not others:
        return pattern == text
    last = others.pop()
    if not (text.startswith(first) and len(text) >= len(first) + len(last) and text.endswith(last)):
        return False
    place, end = len(first), len(text) - len(last)
    for middle in others:
        found = text.find(middle, place, end)
        if found < 0:
            return False
        place = found + len(middle)
    return True
