"""How calls end before they are answered: at their deadline, cancelled, or with the call that they are a part of."""

import pytest

from parade.wire.errors import Reason
from parade_dispatcher.job import CANCEL_TIMEOUT, GRACE
from tests.unit.dispatcher.engine_world import Caller, World, pause, virtual

LATEST = GRACE + 0.012
"""Seconds after its deadline at which a call has ended."""


def cancel(caller: Caller) -> None:
    assert caller.job is not None
    caller.job.cancel()


def leave(caller: Caller) -> None:
    assert caller.job is not None
    caller.job.gone()


@pytest.mark.parametrize("timeout", [0.001, 0.01, 0.3, 5.0, 9.9])
@virtual
async def test_the_deadline_ends_a_call_that_an_instance_has(timeout: float) -> None:
    world = World()
    world.instance("i1", max_concurrency=1)
    begun = world.loop.time()
    caller = world.call(timeout=timeout)
    await pause(timeout + 0.1)

    assert timeout <= caller.at - begun <= timeout + LATEST
    error = caller.error
    assert error.reason is Reason.DEADLINE_EXCEEDED
    assert error.message == f"store.read did not end within {timeout:.3g} s, the caller's limit"
    assert (error.metadata["cancellation"], error.metadata["instance"]) == ("REQUESTED", "i1")
    assert world.sent[0].is_abandoned
    world.call()
    assert len(world.sent) == 2, "its place is free again"


@virtual
async def test_the_functions_own_limit_is_named_as_such() -> None:
    world = World()
    world.instance("i1")
    caller = world.call(timeout=60)
    await pause(10.1)

    assert caller.error.message == "store.read did not end within 10 s, the function's own limit"


@virtual
async def test_the_instances_own_word_within_the_grace_is_the_one_that_counts() -> None:
    world = World()
    world.instance("i1")
    caller = world.call(timeout=1)
    await pause(1.01)
    world.sent[0].fail(Reason.DEADLINE_EXCEEDED, "stopped at step 3", metadata={"cancellation": "STOPPED"})

    assert (caller.error.message, caller.error.metadata["cancellation"]) == ("stopped at step 3", "STOPPED")


@virtual
async def test_a_call_that_waited_all_its_time_says_so() -> None:
    world = World()
    world.instance("i1", max_concurrency=1)
    world.call()
    caller = world.call(timeout=1)
    await pause(1.1)

    assert caller.error.reason is Reason.DEADLINE_EXCEEDED
    assert "waited all that time for an instance of store with room" in caller.error.message
    assert caller.error.metadata["not_sent"] == "true"
    assert caller.timing.queued == pytest.approx(1 + GRACE, abs=0.013)
    assert len(world.sent) == 1


@virtual
async def test_a_call_whose_time_is_over_before_it_begins_never_leaves() -> None:
    world = World()
    world.instance("i1")

    assert world.call(timeout=0).error.reason is Reason.DEADLINE_EXCEEDED
    assert world.sent == []


@virtual
async def test_a_place_that_is_free_after_the_deadline_is_not_for_a_call_whose_time_is_over() -> None:
    world = World()
    world.instance("i1", max_concurrency=1)
    world.call()
    late, next_one = world.call(timeout=1), world.call()
    await pause(1.005)
    world.sent[0].answer()

    assert late.error.reason is Reason.DEADLINE_EXCEEDED
    assert world.sent[1].call.id == next_one.job.call_id  # type: ignore[union-attr]


@virtual
async def test_a_cancelled_call_ends_when_its_instance_says_so() -> None:
    world = World()
    world.instance("i1")
    caller = world.call(window=9)

    cancel(caller)
    cancel(caller)
    assert world.sent[0].is_cancelled
    assert not caller.is_ended
    world.sent[0].receiver.cancelling("ACKNOWLEDGED")
    world.sent[0].fail(Reason.CANCELLED, "cancelled", metadata={"cancellation": "COULD_NOT_STOP"})

    assert caller.events == [("assigned", "i1"), ("cancelling", "REQUESTED"), ("cancelling", "ACKNOWLEDGED")]
    assert (caller.error.reason, caller.error.metadata["cancellation"]) == (Reason.CANCELLED, "COULD_NOT_STOP")


@virtual
async def test_a_result_that_was_faster_than_the_cancellation_is_the_result() -> None:
    world = World()
    world.instance("i1")
    caller = world.call()
    cancel(caller)
    world.sent[0].answer()

    assert caller.answer.result == b"1"


@virtual
async def test_an_instance_that_does_not_know_of_a_cancellation_in_time_is_not_waited_for() -> None:
    world = World()
    world.instance("i1")
    silent, slow = world.call(), world.call()
    begun = world.loop.time()
    cancel(silent)
    cancel(slow)
    world.sent[1].receiver.cancelling("ACKNOWLEDGED")
    await pause(CANCEL_TIMEOUT + 0.1)

    assert (silent.error.reason, silent.error.metadata["cancellation"]) == (Reason.CANCELLED, "REQUESTED")
    assert not slow.is_ended, "it is known to be ending"
    await pause(10)
    assert (slow.error.reason, slow.error.metadata["cancellation"]) == (Reason.CANCELLED, "ACKNOWLEDGED")
    assert slow.at - begun <= 10 + LATEST


@virtual
async def test_a_call_that_waits_is_cancelled_at_once() -> None:
    world = World()
    world.instance("i1", max_concurrency=1)
    world.call()
    caller = world.call()

    cancel(caller)
    world.sent[0].answer()

    assert (caller.error.reason, caller.error.metadata["cancellation"]) == (Reason.CANCELLED, "STOPPED")
    assert len(world.sent) == 1


@virtual
async def test_a_cancelled_call_is_not_given_to_another_instance() -> None:
    world = World()
    world.instance("i1")
    world.instance("i2")
    lost, refused, failed = world.call(), world.call(), world.call("again")
    for caller in (lost, refused, failed):
        cancel(caller)

    world.sent[0].lose()
    world.sent[1].fail(Reason.NO_CAPACITY)
    world.sent[2].fail(Reason.AGENT_ERROR, retryable=True)
    await pause(1)

    assert [caller.error.reason for caller in (lost, refused, failed)] == [Reason.CANCELLED, Reason.CANCELLED, Reason.AGENT_ERROR]
    assert len(world.sent) == 3


@virtual
async def test_a_call_that_pauses_before_a_retry_can_be_cancelled() -> None:
    world = World()
    world.instance("i1")
    caller = world.call("again")
    world.sent[0].fail(Reason.AGENT_ERROR, retryable=True)

    cancel(caller)
    await pause(1)

    assert caller.error.reason is Reason.CANCELLED
    assert len(world.sent) == 1


@virtual
async def test_a_caller_that_goes_away_cancels_its_call_and_hears_nothing() -> None:
    world = World()
    world.instance("i1")
    caller = world.call(window=9)
    leave(caller)
    world.sent[0].fail(Reason.CANCELLED)

    assert world.sent[0].is_cancelled
    assert caller.outcomes == []
    assert world.parts.jobs == {}


@virtual
async def test_the_end_of_a_call_is_the_end_of_those_that_are_a_part_of_it() -> None:
    world = World()
    world.instance("i1", max_concurrency=10)
    parent = world.call(call_id="parent")
    child = world.call(parent_call_id="parent", call_id="child")
    grandchild = world.call(parent_call_id="child")
    ended, other = world.call(parent_call_id="parent"), world.call()
    world.sent[3].answer()

    cancel(parent)

    assert [sent.is_cancelled for sent in world.sent] == [True, True, True, False, False]
    assert ended.is_ended
    assert not other.is_ended
    assert not child.is_ended
    assert not grandchild.is_ended
    after = world.call(parent_call_id="parent")
    assert after.error.reason is Reason.CANCELLED


@virtual
async def test_a_part_of_a_call_has_no_more_time_than_the_whole() -> None:
    world = World()
    world.instance("i1", max_concurrency=10)
    world.call(call_id="parent", timeout=1)
    await pause(0.5)
    child = world.call(parent_call_id="parent", timeout=5)
    assert world.sent[1].deadline == world.sent[0].deadline
    await pause(1)

    assert child.error.reason is Reason.DEADLINE_EXCEEDED
    assert "0.5 s, the limit of the call that it is a part of" in child.error.message


@virtual
async def test_nobody_ends_calls_of_another_namespace() -> None:
    world = World()
    world.instance("i1", max_concurrency=10)
    parent = world.call(call_id="parent")
    child = world.call(parent_call_id="parent")
    assert child.job is not None
    assert parent.job is not None
    stranger = world.parts.jobs.pop(("default", "parent"))
    world.parts.jobs["other", "parent"] = stranger

    orphan = world.call(parent_call_id="parent")
    cancel(parent)

    assert world.sent[1].is_cancelled
    assert not world.sent[2].is_cancelled
    assert not orphan.is_ended
