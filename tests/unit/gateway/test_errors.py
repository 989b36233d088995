import json

import pytest

from parade.wire.errors import ParadeError, Reason, Violation, invalid
from parade_gateway.errors import HttpError, body_of, headers_of, status_of


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_has_a_status_and_travels_in_the_details(reason: Reason) -> None:
    error = ParadeError(reason, "why", metadata={"function": "a.b"})

    body = json.loads(body_of(error))["error"]

    assert body["code"] == status_of(error) >= 400
    assert body["message"] == "why"
    assert body["details"][0]["@type"] == "type.googleapis.com/google.rpc.ErrorInfo"
    assert body["details"][0]["reason"] == reason.value
    assert body["details"][0]["metadata"]["function"] == "a.b"


def test_a_function_that_raises_is_no_fault_of_the_server() -> None:
    failures = {reason for reason in Reason if status_of(ParadeError(reason, "why")) >= 500}

    assert failures == {Reason.INTERNAL, Reason.UNAVAILABLE, Reason.AGENT_LOST, Reason.DEADLINE_EXCEEDED}


def test_violations_travel_as_a_bad_request() -> None:
    body = json.loads(body_of(invalid([Violation("steps.a", "is unknown", 3)])))["error"]

    assert (body["code"], body["status"]) == (400, "INVALID_ARGUMENT")
    assert body["details"][1] == {
        "@type": "type.googleapis.com/google.rpc.BadRequest",
        "fieldViolations": [{"field": "steps.a", "description": "is unknown", "reason": "LINE_3"}],
    }


@pytest.mark.parametrize(("retry_after", "seconds"), [("2.2s", "3"), ("0.1", "1"), ("soon", "1"), ("", "1")])
def test_a_refusal_for_want_of_capacity_says_when_to_come_back(retry_after: str, seconds: str) -> None:
    error = ParadeError(Reason.NO_CAPACITY, "full", metadata={"retry_after": retry_after})

    assert status_of(error) == 429
    assert headers_of(error) == {"retry-after": seconds}


def test_a_failure_of_http_has_its_own_status_and_headers() -> None:
    error = HttpError(405, Reason.INVALID_ARGUMENTS, "takes GET", {"allow": "GET"})

    assert json.loads(body_of(error))["error"]["code"] == 405
    assert headers_of(error) == {"allow": "GET"}
