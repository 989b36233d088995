"""An error arrives as it was raised."""

import grpc
import pytest
from google.rpc import status_pb2
from hypothesis import given
from hypothesis import strategies as st

from parade.v1 import error_pb2
from parade.wire.errors import ParadeError, Reason, Violation
from parade.wire.status import CODES, from_record, from_rpc_error, from_status, to_record, to_status

texts = st.text(max_size=50)
violations = st.lists(st.builds(Violation, texts, texts, st.integers(0, 10_000)), max_size=3)
errors = st.builds(
    lambda reason, message, faults, metadata, retryable: ParadeError(
        reason, message, violations=faults, metadata=metadata, retryable=retryable
    ),
    st.sampled_from(Reason),
    texts,
    violations,
    st.dictionaries(texts, texts, max_size=3).filter(lambda metadata: "retryable" not in metadata),
    st.booleans(),
)


def facts(error: ParadeError) -> tuple[object, ...]:
    return error.reason, error.message, error.violations, error.metadata, error.retryable


def test_the_reasons_are_those_of_the_contract() -> None:
    contract = {name.removeprefix("ERROR_REASON_") for name, _ in error_pb2.ErrorReason.items()} - {"UNSPECIFIED"}

    assert contract == set(Reason.__members__) == {reason.value for reason in CODES}


@given(errors)
def test_a_status_brings_the_whole_error(error: ParadeError) -> None:
    assert facts(from_status(to_status(error))) == facts(error)


@given(errors)
def test_a_record_brings_the_whole_error(error: ParadeError) -> None:
    assert facts(from_record(to_record(error))) == facts(error)


def test_a_record_with_a_reason_of_another_version_is_understood() -> None:
    assert from_record(error_pb2.Error(reason=77, message="new")).reason is Reason.INTERNAL  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (grpc.StatusCode.UNAVAILABLE, Reason.UNAVAILABLE),
        (grpc.StatusCode.DEADLINE_EXCEEDED, Reason.DEADLINE_EXCEEDED),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, Reason.NO_CAPACITY),
        (grpc.StatusCode.UNIMPLEMENTED, Reason.INTERNAL),
    ],
)
def test_a_status_of_grpcs_own_has_a_reason(code: grpc.StatusCode, reason: Reason) -> None:
    failed = grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), details="gone")

    assert from_rpc_error(failed).reason is reason


def test_a_status_of_somebody_elses_is_understood_by_its_code() -> None:
    assert from_status(status_pb2.Status(code=16, message="who are you")).reason is Reason.UNAUTHENTICATED


def test_no_credential_leaves_in_the_words_of_an_error() -> None:
    url = "postgresql://parade:p4ssw0rd@db/parade"
    error = ParadeError(Reason.INTERNAL, url, violations=[Violation(url, url)], metadata={"cause": url})

    assert b"p4ssw0rd" not in to_status(error).SerializeToString() + to_record(error).SerializeToString()
    assert from_record(to_record(error)).message == "postgresql://parade:***@db/parade"
