"""Who is refused at the gateway stands in the agent_manager's audit log: counted, bounded, and never waited for."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from parade.v1 import refusal_pb2 as pb
from parade.wire.audit import Kind
from parade.wire.errors import ParadeError, Reason
from parade.wire.identity import Identity
from parade.wire.log import Log
from parade.wire.roles import Role
from parade_agent_manager.refusal_servicer import MOST, RefusalServicer
from parade_chassis.audit import Record
from parade_chassis.audit_decisions import MAX_MESSAGE
from parade_chassis.audit_decisions import MOST as DIFFERENT
from parade_chassis.clock import ManualClock
from parade_chassis.context import RequestContext, enter
from parade_gateway.caller import Caller
from parade_gateway.errors import HttpError
from parade_gateway.refused import INTERVAL, Refused

GATEWAY = Identity.service("gateway")
METHOD = "/parade.v1.RefusalService/ReportRefusals"
VIEWER = Caller("key:4fJk29sLq0", "sales", Role.VIEWER)
LACKING = ParadeError(Reason.PERMISSION_DENIED, "key:4fJk29sLq0 has only the role viewer")


class Manager:
    """An agent_manager's servicer over an audit log that keeps what it is given, or is away."""

    def __init__(self, clock: ManualClock) -> None:
        self.records: list[Record] = []
        self.is_away = False
        self.reports = 0
        self.servicer = RefusalServicer(self.write, clock)

    async def report(self, request: pb.ReportRefusalsRequest) -> pb.ReportRefusalsResponse:
        if self.is_away:
            raise ParadeError(Reason.UNAVAILABLE, "away")
        self.reports += 1
        enter(RequestContext(METHOD, GATEWAY, "", GATEWAY.uri))
        context: Any = None
        return await self.servicer.ReportRefusals(pb.ReportRefusalsRequest.FromString(request.SerializeToString()), context)

    async def write(self, records: Sequence[Record]) -> None:
        self.records += records

    def told(self) -> list[tuple[Kind, str, str, str, Any, Any]]:
        return [
            (one.kind, one.action, one.subject, one.namespace, one.facts["reason"], one.facts["count"])
            for one in self.records
            if "left_out" not in one.facts
        ]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def manager(clock: ManualClock) -> Manager:
    return Manager(clock)


@pytest.fixture
def gateway(manager: Manager, clock: ManualClock) -> Refused:
    return Refused(manager.report, GATEWAY, clock, Log())


async def test_what_is_refused_is_on_record_with_who_asked_and_how_often(gateway: Refused, manager: Manager) -> None:
    for _ in range(1000):
        gateway.note("GET /v1/agents", None, HttpError(401, Reason.UNAUTHENTICATED, "this API key is not known"))
    gateway.note("POST /v1/keys", VIEWER, LACKING)

    await gateway.end()

    assert manager.told() == [
        (Kind.DENY, "GET /v1/agents", "", "", "UNAUTHENTICATED", 1000),
        (Kind.DENY, "POST /v1/keys", "key:4fJk29sLq0", "sales", "PERMISSION_DENIED", 1),
    ]
    assert manager.records[1].facts["caller"] == GATEWAY.uri
    assert manager.records[1].facts["message"] == LACKING.message


async def test_what_is_no_refusal_is_not_reported(gateway: Refused, manager: Manager) -> None:
    gateway.note("GET", None, ParadeError(Reason.NOT_FOUND, "there is nothing here"))
    gateway.note("GET /v1/agents", VIEWER, ParadeError(Reason.NO_CAPACITY, "try again"))

    await gateway.end()

    assert manager.reports == 0


async def test_somebody_who_floods_the_port_causes_few_entries(gateway: Refused, manager: Manager, clock: ManualClock) -> None:
    keeping = asyncio.create_task(gateway.keep())
    for number in range(10_000):
        gateway.note("GET /v1/agents", None, ParadeError(Reason.UNAUTHENTICATED, f"no such key: {number}"))
    await asyncio.sleep(0)
    await clock.advance(INTERVAL)
    keeping.cancel()

    assert manager.reports == 1
    assert len(manager.records) == DIFFERENT + 1
    assert sum(one.facts.get("count", 0) + one.facts.get("left_out", 0) for one in manager.records) == 10_000


async def test_what_the_agent_manager_does_not_take_is_reported_later(gateway: Refused, manager: Manager) -> None:
    manager.is_away = True
    gateway.note("POST /v1/keys", VIEWER, LACKING)
    await gateway.end()
    manager.is_away = False
    gateway.note("POST /v1/keys", VIEWER, LACKING)

    await gateway.end()

    assert [told[-1] for told in manager.told()] == [2]


@pytest.mark.parametrize(
    "refusals",
    [
        [pb.Refusal(reason="PERMISSION_DENIED")],
        [pb.Refusal(reason="PERMISSION_DENIED", count=-1)],
        [pb.Refusal(reason="INTERNAL", count=1)],
        [pb.Refusal(reason="whatever", count=1)],
        [pb.Refusal(reason="PERMISSION_DENIED", count=1)] * (MOST + 1),
    ],
)
async def test_what_a_gateway_cannot_have_seen_is_not_written(manager: Manager, refusals: list[pb.Refusal]) -> None:
    with pytest.raises(ParadeError) as raised:
        await manager.report(pb.ReportRefusalsRequest(refusals=refusals))

    assert raised.value.reason is Reason.INVALID_ARGUMENTS
    assert manager.records == []


async def test_a_message_has_its_bound(manager: Manager) -> None:
    await manager.report(pb.ReportRefusalsRequest(refusals=[pb.Refusal(reason="PERMISSION_DENIED", count=1, message="x" * 100_000)]))

    assert manager.records[0].facts["message"] == "x" * MAX_MESSAGE
