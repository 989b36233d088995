from typing import Any

import pytest

from parade.call_options import CallOptions, checked
from parade.v1 import call_approval_pb2, call_pb2
from parade.wire.errors import ParadeError, Reason


def test_they_travel_as_they_were_given() -> None:
    message = call_pb2.CallOptions(call_id="kept")

    CallOptions(
        "order-7", priority=-5, affinity_key="customer-1", labels={"gpu": "yes"}, secrets=["k3y"], functions=["a.*"], approval="fail"
    ).write(message)

    assert message == call_pb2.CallOptions(
        call_id="kept",
        idempotency_key="order-7",
        priority=-5,
        affinity_key="customer-1",
        labels={"gpu": "yes"},
        secrets=["k3y"],
        functions=["a.*"],
        approval=call_approval_pb2.APPROVAL_MODE_FAIL,
    )


@pytest.mark.parametrize(
    ("faulty", "fields"),
    [
        ({"priority": 101}, ["priority"]),
        ({"priority": -101}, ["priority"]),
        ({"priority": True}, ["priority"]),
        ({"priority": "high"}, ["priority"]),
        ({"idempotency_key": "x" * 257}, ["idempotency_key"]),
        ({"affinity_key": 7}, ["affinity_key"]),
        ({"labels": ["gpu"]}, ["labels"]),
        ({"labels": {"gpu": 1}}, ["labels.gpu"]),
        ({"labels": {str(number): "" for number in range(65)}}, ["labels"]),
        ({"secrets": "k3y"}, ["secrets"]),
        ({"secrets": ["k3y", 7]}, ["secrets"]),
        ({"secrets": [""]}, ["secrets"]),
        ({"secrets": ["k3y"] * 65}, ["secrets"]),
        ({"secrets": ["ä" * 32_769]}, ["secrets"]),
        ({"functions": "a.b"}, ["functions"]),
        ({"functions": 7}, ["functions"]),
        ({"functions": ["a.b", "a", "*.b", 7]}, ["functions"] * 3),
        ({"functions": ["a.b"] * 33}, ["functions"]),
        ({"approval": "never"}, ["approval"]),
        ({"priority": 1.5, "idempotency_key": None, "labels": {"": "x"}}, ["idempotency_key", "priority", "labels."]),
    ],
)
def test_every_fault_is_named(faulty: dict[str, Any], fields: list[str]) -> None:
    with pytest.raises(ParadeError) as refused:
        CallOptions(**faulty)

    assert refused.value.reason is Reason.INVALID_ARGUMENTS
    assert [violation.field for violation in refused.value.violations] == fields


def test_they_cannot_be_changed_by_who_gave_the_labels() -> None:
    labels = {"gpu": "yes"}
    options = CallOptions(labels=labels)
    labels["gpu"] = "no"

    assert options.labels == {"gpu": "yes"}
    with pytest.raises(TypeError):
        options.labels["gpu"] = "no"  # type: ignore[index]


def test_an_argument_of_this_name_is_told_where_to_go() -> None:
    with pytest.raises(ParadeError, match="mapping of arguments"):
        checked({"verbose": True})


def test_they_do_not_show_the_secrets() -> None:
    assert "k3y" not in repr(CallOptions(secrets=["k3y"]))
