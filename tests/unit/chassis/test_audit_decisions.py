"""Who is let in and who is refused, on the way into the audit log: everything is counted, and little is written."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from parade.wire.audit import Kind
from parade.wire.errors import ParadeError, Reason
from parade.wire.identity import ANONYMOUS, Identity
from parade.wire.log import Log
from parade_chassis.audit import Record
from parade_chassis.audit_decisions import INTERVAL, MOST, Decisions
from parade_chassis.clock import ManualClock
from parade_chassis.context import RequestContext

METHOD = "/parade.v1.AgentManagerService/PauseAgent"
ANA = Identity.client("ana", "default")
DENIED = ParadeError(Reason.PERMISSION_DENIED, "ana may not")


def request(caller: Identity, principal: str = "") -> RequestContext:
    return RequestContext(METHOD, caller, caller.namespace, principal or caller.uri)


class Written:
    """An audit log that keeps what it is given, or fails."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.is_away = False

    async def __call__(self, records: Sequence[Record]) -> None:
        if self.is_away:
            raise ParadeError(Reason.UNAVAILABLE, "away")
        self.records += records

    def told(self) -> list[tuple[Kind, str, str, Any]]:
        return [(record.kind, record.subject, record.action, dict(record.facts)) for record in self.records]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def decisions(clock: ManualClock) -> Decisions:
    return Decisions(clock, Log())


async def test_refusals_that_are_alike_are_one_entry_with_their_number(decisions: Decisions) -> None:
    written = Written()
    for _ in range(1000):
        decisions.denied(METHOD, request(ANA), DENIED)
    decisions.denied(METHOD, None, ParadeError(Reason.UNAUTHENTICATED, "revoked"))

    await decisions.flush(written)
    await decisions.flush(written)

    assert written.told() == [
        (Kind.DENY, ANA.uri, METHOD, {"count": 1000, "reason": "PERMISSION_DENIED", "message": "ana may not"}),
        (Kind.DENY, "", METHOD, {"count": 1, "reason": "UNAUTHENTICATED", "message": "revoked"}),
    ]


async def test_failures_that_are_no_refusals_are_not_recorded(decisions: Decisions) -> None:
    written = Written()
    for reason in set(Reason) - {Reason.UNAUTHENTICATED, Reason.PERMISSION_DENIED}:
        decisions.denied(METHOD, request(ANA), ParadeError(reason, "no"))

    await decisions.flush(written)

    assert written.records == []


async def test_of_very_many_different_refusals_some_are_written_and_the_rest_counted(decisions: Decisions) -> None:
    written = Written()
    for number in range(500):
        decisions.denied(METHOD, request(ANONYMOUS, f"spiffe://elsewhere/{number}"), DENIED)

    await decisions.flush(written)

    assert len(written.records) == MOST + 1
    assert written.told()[-1] == (Kind.DENY, "", "", {"left_out": 500 - MOST})


async def test_people_programs_and_agents_are_let_in_on_record_and_services_are_not(decisions: Decisions) -> None:
    written = Written()
    for caller in (ANA, Identity.agent("cleaner", "i-1", "default"), Identity.service("gateway"), Identity.service("scheduler")):
        decisions.allowed(request(caller))

    await decisions.flush(written)

    assert [(record.kind, record.subject) for record in written.records] == [
        (Kind.ALLOW, ANA.uri),
        (Kind.ALLOW, Identity.agent("cleaner", "i-1", "default").uri),
    ]


async def test_who_acts_for_somebody_is_named_beside_them(decisions: Decisions) -> None:
    written = Written()
    decisions.denied(METHOD, request(Identity.service("gateway"), "key:abc"), DENIED)

    await decisions.flush(written)

    [record] = written.records
    assert (record.subject, record.facts["caller"]) == ("key:abc", Identity.service("gateway").uri)


async def test_what_cannot_be_written_is_kept_with_what_comes_meanwhile(decisions: Decisions) -> None:
    written = Written()
    written.is_away = True
    decisions.denied(METHOD, request(ANA), DENIED)
    with pytest.raises(ParadeError):
        await decisions.flush(written)
    decisions.denied(METHOD, request(ANA), DENIED)
    written.is_away = False

    await decisions.flush(written)

    assert [facts["count"] for _, _, _, facts in written.told()] == [2]


async def test_the_loop_writes_after_the_interval_and_goes_on_after_a_failure(decisions: Decisions, clock: ManualClock) -> None:
    written = Written()
    written.is_away = True
    loop = asyncio.create_task(decisions.keep(written))
    decisions.denied(METHOD, request(ANA), DENIED)
    for _ in range(3):
        await clock.advance(INTERVAL)
    assert written.records == []
    written.is_away = False
    await clock.advance(INTERVAL)

    assert [facts["count"] for _, _, _, facts in written.told()] == [1]
    loop.cancel()
