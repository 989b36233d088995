"""Secrets are taken out of failures."""

from parade.wire.errors import Reason, Violation
from parade_scheduler.decider.masking import masked_failure
from parade_scheduler.model import Failure


def test_a_failure_keeps_its_form() -> None:
    violations = (Violation("arguments.count", '"t0ken" is not of type "integer"'),)
    failure = Failure(Reason.INVALID_ARGUMENTS, "t0ken does not fit", violations, {"function": "x.a", "value": "t0ken"}, retryable=True)

    assert masked_failure(failure, {"t0ken"}) == Failure(
        Reason.INVALID_ARGUMENTS,
        "*** does not fit",
        (Violation("arguments.count", '"***" is not of type "integer"'),),
        {"function": "x.a", "value": "***"},
        retryable=True,
    )
