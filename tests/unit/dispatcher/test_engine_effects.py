"""Functions with effects: written before they leave, never repeated where they may have run, their outcomes kept.

One file, though a long one: it follows one kind of call through every way that its outcome can be lost and found.
"""

from typing import Any

import pytest

from parade.wire.errors import ParadeError, Reason
from parade.wire.identity import Identity
from parade_dispatcher.job import GRACE
from parade_dispatcher.model import InstanceState, Receipt, Step, Unfinished
from tests.unit.dispatcher.engine_world import Caller, World, pause, virtual

SCHEDULER = Identity.service("scheduler")


async def write(world: World, function: str = "write", **fields: Any) -> Caller:
    """Makes a call with effects and waits until it has left."""
    caller = world.call(function, **fields)
    await pause(world.ledger.delay)
    return caller


def outcome(world: World, key: str) -> Any:
    return world.ledger.written["default", key].outcome


@virtual
async def test_a_call_leaves_when_it_is_written_and_is_told_when_its_outcome_is() -> None:
    world = World()
    world.ledger.delay = 0.1
    world.instance("i1")
    caller = world.call("write", call_id="call-1")
    assert world.sent == []
    await pause(0.1)
    world.sent[0].answer(b"5")
    assert not caller.is_ended
    assert world.ledger.written["default", "call-1"].instance_id == "i1"
    await pause(0.1)

    assert caller.answer.result == b"5"
    assert outcome(world, "call-1") is caller.answer


@virtual
async def test_functions_without_effects_are_not_written() -> None:
    world = World()
    world.instance("i1")
    world.call("read")
    world.call("again")
    await pause()

    assert world.ledger.written == {}


@virtual
async def test_a_second_call_of_the_key_gets_the_first_ones_outcome() -> None:
    world = World()
    world.instance("i1")
    first = await write(world, idempotency_key="k")
    world.sent[0].answer(b"5")
    await pause()
    failed = await write(world, idempotency_key="f")
    world.sent[1].fail(Reason.AGENT_ERROR, "no such account")
    await pause()

    second, failed_again = await write(world, idempotency_key="k"), await write(world, idempotency_key="f")

    assert second.answer is first.answer
    assert failed_again.error is failed.error
    assert len(world.sent) == 2


@virtual
async def test_a_key_is_for_one_call_only() -> None:
    world = World()
    world.instance("i1")
    await write(world, idempotency_key="k")

    other = await write(world, idempotency_key="k", arguments=b'{"a":1}')

    assert other.error.reason is Reason.ALREADY_EXISTS
    assert len(world.sent) == 1


@virtual
async def test_what_cannot_be_written_does_not_leave() -> None:
    world = World()
    world.instance("i1")
    world.ledger.refusal = ParadeError(Reason.UNAVAILABLE, "the disk is full")

    caller = await write(world)

    assert (caller.error.reason, caller.error.message) == (Reason.UNAVAILABLE, "the disk is full")
    assert world.sent == []


@pytest.mark.parametrize("reason", [Reason.UNKNOWN_FUNCTION, Reason.INVALID_ARGUMENTS, Reason.NO_CAPACITY])
@virtual
async def test_an_answer_that_proves_that_nothing_ran_is_no_receipt(reason: Reason) -> None:
    world = World()
    world.instance("i1")
    world.reach.behave = lambda sent: sent.fail(reason)
    caller = await write(world, idempotency_key="k")
    await pause(1)
    assert caller.error.reason is reason

    world.reach.behave = lambda sent: sent.answer()
    again = await write(world, idempotency_key="k")

    assert again.answer.result == b"1"


@virtual
async def test_a_call_that_was_never_given_is_no_receipt() -> None:
    world = World()
    refused = await write(world, idempotency_key="a")
    world.instance("i1", max_concurrency=1)
    await write(world)
    expired, cancelled = await write(world, idempotency_key="b", timeout=1), await write(world, idempotency_key="c")
    assert cancelled.job is not None
    cancelled.job.cancel()
    await pause(1.1)

    assert refused.error.reason is Reason.NO_CAPACITY
    assert expired.error.reason is Reason.DEADLINE_EXCEEDED
    assert cancelled.error.reason is Reason.CANCELLED
    assert world.ledger.withdrawn.keys() == {"a", "b", "c"}


@virtual
async def test_a_call_that_certainly_did_not_arrive_goes_to_another_instance() -> None:
    world = World()
    world.instance("i1")
    world.instance("i2")
    caller = await write(world)
    world.sent[0].lose(sent=False)
    world.sent[1].answer()
    await pause()

    assert caller.answer.instance_id == world.sent[1].instance.id


@virtual
async def test_where_no_instance_ever_had_it_the_entry_is_withdrawn() -> None:
    world = World()
    world.instance("i1")
    caller = await write(world, idempotency_key="k")
    world.sent[0].lose(sent=False)

    assert caller.error.reason is Reason.AGENT_LOST
    assert world.ledger.withdrawn["k"] == 1


@virtual
async def test_a_call_that_may_have_run_is_asked_for_where_it_ran() -> None:
    world = World()
    world.instance("i1")
    world.instance("i2")
    caller = await write(world)
    first = world.sent[0].instance.id
    world.sent[0].lose()
    world.sent[1].lose()
    await pause(0.6)
    world.sent[2].answer(b"9")
    await pause()

    assert [sent.call.attach for sent in world.sent] == [False, True, True]
    assert {sent.instance.id for sent in world.sent} == {first}
    assert {sent.call.id for sent in world.sent} == {world.sent[0].call.id}
    assert (caller.answer.result, caller.answer.instance_id) == (b"9", first)
    assert world.ledger.open == []


@pytest.mark.parametrize("state", [InstanceState.LOST, InstanceState.GONE])
@virtual
async def test_an_instance_that_is_lost_for_good_leaves_the_outcome_unknown(state: InstanceState) -> None:
    world = World()
    world.instance("i1")
    world.instance("i2")
    caller = await write(world, idempotency_key="k")
    world.instance(world.sent[0].instance.id, state)
    await pause()
    again = await write(world, idempotency_key="k")

    error = caller.error
    assert error.reason is Reason.OUTCOME_UNKNOWN
    assert "store.write has effects, and whether it ran is not known" in error.message
    assert (error.metadata["instance"], error.metadata["function"]) == (world.sent[0].instance.id, "store.write")
    assert again.error.reason is Reason.OUTCOME_UNKNOWN, "it is shown, and not repeated"
    assert len(world.sent) == 1


@virtual
async def test_an_instance_that_goes_while_it_is_asked_leaves_the_outcome_unknown_at_once() -> None:
    world = World()
    world.instance("i1")
    caller = await write(world)
    world.sent[0].lose()
    world.pools.gone("i1")
    await pause()

    assert caller.error.reason is Reason.OUTCOME_UNKNOWN
    assert world.sent[1].is_abandoned


@virtual
async def test_an_instance_that_knows_nothing_of_the_call_leaves_the_outcome_unknown() -> None:
    world = World()
    world.instance("i1")
    caller = await write(world)
    world.sent[0].lose()
    world.sent[1].fail(Reason.NOT_FOUND)
    await pause()

    assert caller.error.reason is Reason.OUTCOME_UNKNOWN
    assert "knows nothing of the call" in caller.error.message


@virtual
async def test_a_caller_waits_for_the_outcome_until_its_deadline_and_the_record_is_kept_when_it_comes_later() -> None:
    world = World()
    world.instance("i1")
    caller = await write(world, idempotency_key="k", timeout=2)
    begun = world.loop.time()
    world.reach.behave = lambda sent: sent.lose()
    world.sent[0].lose()
    await pause(3)
    assert caller.error.reason is Reason.OUTCOME_UNKNOWN
    assert caller.at - begun == pytest.approx(2 + GRACE, abs=0.013)

    world.reach.behave = lambda sent: sent.answer(b"9")
    await pause(0.6)
    again = await write(world, idempotency_key="k")

    assert again.answer.result == b"9"


@virtual
async def test_an_outcome_that_nobody_can_say_is_written_as_unknown_in_the_end() -> None:
    world = World()
    world.instance("i1")
    world.reach.behave = lambda sent: sent.lose()
    await write(world, idempotency_key="k", timeout=2)
    await pause(100)

    assert outcome(world, "k").reason is Reason.OUTCOME_UNKNOWN


@virtual
async def test_the_outcome_of_a_call_that_ended_at_its_deadline_is_still_written() -> None:
    world = World()
    world.instance("i1")
    caller = await write(world, idempotency_key="k", timeout=1)
    await pause(1.1)
    assert caller.error.reason is Reason.DEADLINE_EXCEEDED
    assert world.sent[0].is_cancelled
    assert not world.sent[0].is_abandoned
    world.sent[0].answer(b"9")
    await pause()

    assert (await write(world, idempotency_key="k")).answer.result == b"9"
    assert caller.error.reason is Reason.DEADLINE_EXCEEDED


@virtual
async def test_a_call_that_is_lost_after_its_deadline_is_still_asked_for() -> None:
    world = World()
    world.instance("i1")
    await write(world, idempotency_key="k", timeout=1)
    await pause(1.1)
    world.sent[0].lose()
    await pause(0.1)
    world.sent[1].answer(b"9")
    await pause()

    assert world.sent[1].call.attach
    assert outcome(world, "k").result == b"9"


@virtual
async def test_a_stream_that_is_lost_is_not_asked_for() -> None:
    world = World()
    world.instance("i1")
    caller = await write(world, "log", window=10)
    world.sent[0].receiver.item(b"1")
    world.sent[0].lose()
    await pause()

    assert caller.error.reason is Reason.OUTCOME_UNKNOWN
    assert len(world.sent) == 1


@virtual
async def test_a_stream_is_not_told_twice() -> None:
    world = World()
    world.instance("i1")
    await write(world, "log", window=10, idempotency_key="k")
    world.sent[0].answer(None)
    await pause()

    again = await write(world, "log", window=10, idempotency_key="k")

    assert again.error.reason is Reason.FAILED_PRECONDITION
    assert "has run to its end" in again.error.message


@virtual
async def test_an_error_of_a_function_with_effects_is_not_tried_again() -> None:
    world = World()
    world.instance("i1")
    caller = await write(world)
    world.sent[0].fail(Reason.AGENT_ERROR, retryable=True)
    await pause(1)

    assert caller.error.reason is Reason.AGENT_ERROR
    assert len(world.sent) == 1


@virtual
async def test_a_call_cancelled_while_it_is_written_never_leaves() -> None:
    world = World()
    world.ledger.delay = 0.1
    world.instance("i1")
    caller = world.call("write", idempotency_key="k")
    assert caller.job is not None
    caller.job.cancel()
    await pause(0.2)

    assert caller.error.reason is Reason.CANCELLED
    assert world.sent == []
    assert world.ledger.withdrawn["k"] == 1


@virtual
async def test_a_known_outcome_is_told_at_the_deadline_even_where_it_is_not_written_yet() -> None:
    world = World()
    world.ledger.delay = 5
    world.instance("i1")
    caller = world.call("write", timeout=6)
    await pause(5)
    world.sent[0].answer()
    await pause(2)
    assert caller.answer.result == b"1"
    await pause(5)

    assert len(caller.outcomes) == 1


# ---- the same call again


@virtual
async def test_a_call_sent_again_while_it_runs_gets_its_outcome_and_does_not_run_twice() -> None:
    world = World()
    world.instance("i1")
    first = await write(world, call_id="call-1")
    again = await write(world, call_id="call-1", redelivered=True)
    assert first.job is not None
    first.job.gone()
    assert not world.sent[0].is_cancelled, "somebody still wants it"
    world.sent[0].answer(b"9")
    await pause()

    assert again.answer.result == b"9"
    assert len(world.sent) == 1


@virtual
async def test_a_call_whose_callers_all_went_away_is_cancelled() -> None:
    world = World()
    world.instance("i1")
    first = await write(world, call_id="call-1")
    again = await write(world, call_id="call-1", redelivered=True)
    assert first.job is not None
    assert again.job is not None
    first.job.gone()
    again.job.gone()

    assert world.sent[0].is_cancelled


@pytest.mark.parametrize("is_cancelled", [False, True])
@virtual
async def test_a_call_that_ends_while_it_waits_for_the_first_of_its_key_does_not_deny_that_one(*, is_cancelled: bool) -> None:
    world = World()
    world.instance("i1")
    await write(world, call_id="call-1", step=Step("run-1", "pay"), caller=SCHEDULER)
    again = await write(world, call_id="call-1", redelivered=True, timeout=1, step=Step("run-1", "pay"), caller=SCHEDULER)
    assert again.job is not None
    if is_cancelled:
        again.job.cancel()
    await pause(1.1)

    assert again.error.reason is (Reason.CANCELLED if is_cancelled else Reason.DEADLINE_EXCEEDED)
    assert "not_sent" not in again.error.metadata
    assert again.error.metadata.get("cancellation") != "STOPPED"
    assert not world.sent[0].is_cancelled, "its own caller still wants it"


@pytest.mark.parametrize("timeout", [0, 0.5])
@virtual
async def test_a_call_sent_again_is_not_said_to_be_unsent_before_it_is_known_what_was_written(timeout: float) -> None:
    world = World()
    world.ledger.delay = 1
    world.instance("i1")

    again = await write(world, call_id="call-1", redelivered=True, timeout=timeout)

    assert again.error.reason is Reason.DEADLINE_EXCEEDED
    assert "not_sent" not in again.error.metadata


@virtual
async def test_the_effect_of_a_step_goes_on_without_its_scheduler_and_the_next_process_gets_its_outcome() -> None:
    world = World()
    world.instance("i1")
    first = await write(world, call_id="call-1", step=Step("run-1", "clean"), caller=SCHEDULER)
    assert first.job is not None
    first.job.gone()
    assert not world.sent[0].is_cancelled
    again = await write(world, call_id="call-1", redelivered=True, step=Step("run-1", "clean", redelivered=True), caller=SCHEDULER)
    world.sent[0].answer(b"9")
    await pause()

    assert again.answer.result == b"9"
    assert len(world.sent) == 1


@virtual
async def test_an_attempt_of_a_step_is_known_again_though_a_secret_in_its_arguments_has_changed() -> None:
    world = World()
    world.instance("i1")
    step = Step("run-1", "pay")
    await write(world, call_id="call-1", step=step, caller=SCHEDULER, arguments=b'{"token":"old"}')
    world.sent[0].answer(b"9")
    await pause()

    again = await write(world, call_id="call-1", redelivered=True, step=step, caller=SCHEDULER, arguments=b'{"token":"new"}')

    assert again.answer.result == b"9"
    assert len(world.sent) == 1


@virtual
async def test_a_call_sent_again_that_never_left_is_made() -> None:
    world = World()
    world.instance("i1")
    caller = await write(world, call_id="call-1", redelivered=True)
    world.sent[0].answer()
    await pause()

    assert caller.answer.result == b"1"


@virtual
async def test_what_another_dispatcher_left_unfinished_is_asked_for() -> None:
    world = World()
    world.instance("i1")
    world.instance("i2")
    world.ledger.verdict = Unfinished("i2", "call-0")
    caller = await write(world, idempotency_key="k")
    [sent] = world.sent
    sent.answer(b"9")
    await pause()

    assert (sent.instance.id, sent.call.id, sent.call.attach) == ("i2", "call-0", True)
    assert caller.answer.result == b"9"
    assert world.ledger.ended["k"] == 1


@pytest.mark.parametrize("instance_id", ["", "i7"])
@virtual
async def test_what_was_left_unfinished_at_an_instance_that_is_not_known_is_unknown(instance_id: str) -> None:
    world = World()
    world.instance("i1")
    world.ledger.verdict = Unfinished(instance_id, "call-0")
    caller = await write(world, idempotency_key="k")
    await pause()

    assert caller.error.reason is Reason.OUTCOME_UNKNOWN
    assert world.ledger.ended["k"] == 1


@virtual
async def test_a_redelivered_step_with_a_key_gets_the_receipt_and_without_one_is_not_made() -> None:
    world = World()
    world.instance("i1")
    step = Step("run-1", "clean", redelivered=True)
    fresh = await write(world, idempotency_key="k", step=step, caller=SCHEDULER)
    first = await write(world, idempotency_key="r")
    world.sent[0].answer(b"9")
    await pause()

    again = await write(world, idempotency_key="r", step=step, caller=SCHEDULER)
    named = await write(world, call_id="call-1", redelivered=True, step=step, caller=SCHEDULER)

    assert fresh.error.reason is Reason.OUTCOME_UNKNOWN
    assert again.answer is first.answer
    assert world.ledger.withdrawn["k"] == 1
    assert not named.is_ended
    assert len(world.sent) == 2, "a call that is known never to have left is made"


@virtual
async def test_a_receipt_that_comes_after_the_callers_end_is_dropped() -> None:
    world = World()
    world.ledger.delay = 1
    world.ledger.verdict = Receipt(ParadeError(Reason.AGENT_ERROR, "no"))
    caller = world.call("write", timeout=0.5)
    await pause(2)

    assert caller.error.reason is Reason.DEADLINE_EXCEEDED
