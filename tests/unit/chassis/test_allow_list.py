"""A server with a method that nobody may call does not start."""

from typing import Any

import pytest
from grpc_health.v1 import health_pb2

from parade.v1 import agent_manager_pb2, agent_pb2, dispatcher_pb2, monitor_pb2, scheduler_pb2
from parade.wire.identity import Kind
from parade.wire.session.methods import SCHEDULER_SESSION
from parade_chassis.interceptors.authorization import allow_list

OURS = [
    service
    for module in (agent_pb2, agent_manager_pb2, dispatcher_pb2, scheduler_pb2, monitor_pb2)
    for service in module.DESCRIPTOR.services_by_name.values()
]
HEALTH: Any = health_pb2.DESCRIPTOR.services_by_name["Health"]
CHECK = "/grpc.health.v1.Health/Check"


def test_every_method_of_the_contract_has_a_row() -> None:
    rows = allow_list(OURS, {})

    assert set(rows) == {f"/{service.full_name}/{method.name}" for service in OURS for method in service.methods}


def test_only_enrolment_admits_the_anonymous() -> None:
    rows = allow_list(OURS, {})

    assert [name for name, kinds in rows.items() if Kind.ANONYMOUS in kinds] == ["/parade.v1.AgentManagerService/Enroll"]


def test_agents_are_called_by_no_client() -> None:
    rows = allow_list(OURS, {})

    assert rows["/parade.v1.AgentService/Invoke"] == {Kind.DISPATCHER}


def test_a_session_with_the_scheduler_is_for_those_who_may_start_runs() -> None:
    rows = allow_list(OURS, {})

    assert rows[SCHEDULER_SESSION] == {Kind.CLIENT, Kind.AGENT}
    assert rows[SCHEDULER_SESSION] <= rows["/parade.v1.SchedulerService/StartRun"]


def test_a_method_without_a_row_is_refused() -> None:
    with pytest.raises(ValueError, match="Health/Check"):
        allow_list([HEALTH], {})


def test_a_row_that_admits_nobody_is_refused() -> None:
    rows = {f"/grpc.health.v1.Health/{method.name}": frozenset({Kind.CLIENT}) for method in HEALTH.methods}

    with pytest.raises(ValueError, match="Health/Check"):
        allow_list([HEALTH], {**rows, CHECK: frozenset()})


def test_a_row_for_no_method_is_refused() -> None:
    with pytest.raises(ValueError, match="no such method"):
        allow_list(OURS, {CHECK: frozenset({Kind.CLIENT})})
