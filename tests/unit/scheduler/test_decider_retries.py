"""Which failures are tried again where a step says it."""

import pytest

from parade.wire.errors import Reason
from parade_scheduler.language import Retry
from tests.unit.scheduler.simulation import Simulation, flow, step


def again(policy: Retry, reason: Reason, *, retryable: bool = True, raised: str = "") -> bool:
    """Tells whether a task is tried again after a failure."""
    run = Simulation(flow(step("a", retry=policy)))
    run.fail("a", reason, retryable=retryable, metadata={"exception_type": raised} if raised else {})
    run.advance(60)
    return bool(run.out)


def policy(*, on: str = "", never: str = "") -> Retry:
    return Retry(attempts=3, on=frozenset(on.split()), never=frozenset(never.split()))


@pytest.mark.parametrize(
    ("words", "reason", "raised", "expected"),
    [
        (policy(on="TimeoutError"), Reason.AGENT_ERROR, "TimeoutError", True),
        (policy(on="TimeoutError"), Reason.AGENT_ERROR, "shop.errors.TimeoutError", True),
        (policy(on="TimeoutError"), Reason.AGENT_ERROR, "ValueError", False),
        (policy(on="TimeoutError"), Reason.AGENT_ERROR, "", False),
        (policy(on="TimeoutError"), Reason.DEADLINE_EXCEEDED, "", False),
        (policy(on="AGENT_ERROR"), Reason.AGENT_ERROR, "ValueError", True),
        (policy(on="AGENT_ERROR DEADLINE_EXCEEDED"), Reason.DEADLINE_EXCEEDED, "", True),
        (policy(on="INVALID_ARGUMENTS"), Reason.INVALID_ARGUMENTS, "", True),
        (policy(never="ValueError"), Reason.AGENT_ERROR, "ValueError", False),
        (policy(never="ValueError"), Reason.AGENT_ERROR, "TimeoutError", True),
        (policy(on="AGENT_ERROR", never="ValueError"), Reason.AGENT_ERROR, "ValueError", False),
        (policy(never="DEADLINE_EXCEEDED"), Reason.DEADLINE_EXCEEDED, "", False),
        (policy(never="NO_CAPACITY"), Reason.NO_CAPACITY, "", False),
        (policy(on="TimeoutError"), Reason.NO_CAPACITY, "", True),
    ],
)
def test_a_policy_names_failures_by_reason_and_by_what_was_raised(words: Retry, reason: Reason, raised: str, expected: bool) -> None:  # noqa: FBT001 - a parameter of the table
    assert again(words, reason, raised=raised) is expected


def test_what_is_named_is_tried_again_even_where_the_function_sees_no_use_in_it() -> None:
    assert again(policy(on="ValueError"), Reason.AGENT_ERROR, retryable=False, raised="ValueError")
    assert not again(policy(), Reason.AGENT_ERROR, retryable=False, raised="ValueError")


def test_what_is_named_costs_an_attempt() -> None:
    run = Simulation(flow(step("a", retry=policy(on="ValueError"))))
    for _ in range(2):
        run.fail("a", Reason.AGENT_ERROR, retryable=False, metadata={"exception_type": "ValueError"})
        run.advance(60)

    run.fail("a", Reason.AGENT_ERROR, retryable=False, metadata={"exception_type": "ValueError"})

    assert run.state.value == "FAILED"


@pytest.mark.parametrize(
    ("metadata", "redelivered"),
    [({}, True), ({"cancellation": "COULD_NOT_STOP"}, True), ({"cancellation": "STOPPED"}, False), ({"not_sent": "true"}, False)],
)
def test_a_function_that_may_run_on_after_its_deadline_is_tried_again_as_one_that_may_have_run(
    metadata: dict[str, str],
    redelivered: bool,  # noqa: FBT001  # a parameter of the test
) -> None:
    run = Simulation(flow(step("a", retry=Retry(2), timeout=5.0)))

    run.fail("a", Reason.DEADLINE_EXCEEDED, metadata=metadata)
    run.advance(10)

    assert run.out["a", 0, 2].redelivered is redelivered
    assert not run.out["a", 0, 2].resumed


def test_a_call_that_waits_in_vain_for_room_costs_no_attempt_where_the_step_sets_no_time() -> None:
    run = Simulation(flow(step("a")))

    for _ in range(3):
        run.fail("a", Reason.DEADLINE_EXCEEDED, metadata={"not_sent": "true"})
        run.advance(10)
    run.succeed("a", 1)

    assert run.state.value == "SUCCEEDED"


def test_a_call_that_waits_in_vain_for_room_until_the_time_of_its_step_costs_an_attempt() -> None:
    run = Simulation(flow(step("a", retry=Retry(2), timeout=5.0)))

    for _ in range(2):
        assert run.out
        run.fail("a", Reason.DEADLINE_EXCEEDED, metadata={"not_sent": "true"})
        run.advance(60)

    assert run.state.value == "FAILED"
