"""What becomes of a call: checked, given to an instance, answered, refused, tried again; each ends once.

One file, though a long one: it is the table of the engine's rules, read as a whole.
"""

import itertools

import pytest

from parade.wire.errors import Reason, Violation
from parade.wire.identity import Identity
from parade_dispatcher.budget import CAPACITY
from parade_dispatcher.engine import FIRST_PICTURE_TIMEOUT
from parade_dispatcher.model import Agent, Artifact, InstanceState, Progress, Step
from tests.unit.dispatcher.engine_world import FUNCTIONS, Sent, World, pause, virtual

SCHEDULER = Identity.service("scheduler")


@virtual
async def test_a_call_is_answered_with_the_result_the_instance_and_the_timing() -> None:
    world = World()
    world.instance("i1")

    caller = world.call("read", call_id="call-1")
    await pause(0.5)
    world.sent[0].answer(b"42", queued=0.1, executing=0.3)

    answer = caller.answer
    assert (answer.result, answer.call_id, answer.instance_id) == (b"42", "call-1", "i1")
    assert (answer.timing.queued, answer.timing.executing) == (0.1, 0.3)
    assert answer.timing.transport == pytest.approx(0.1)
    [(function, instance, outcome, *times)] = world.measured.attempts
    assert (function, instance, outcome) == ("store.read", "i1", "OK")
    assert times == pytest.approx([0.1, 0.1, 0.3])


@virtual
async def test_an_instance_gets_the_call_with_all_that_belongs_to_it() -> None:
    world = World()
    world.instance("i1")

    world.call("read", arguments=b'{"a":1}', window=7, traceparent="00-a-b-01", caller=SCHEDULER, step=Step("run-1", "clean"), timeout=3.0)

    [sent] = world.sent
    assert (sent.call.function, sent.call.arguments, sent.call.run_id, sent.call.step) == ("read", b'{"a":1}', "run-1", "clean")
    assert (sent.call.window, sent.call.traceparent, sent.call.attach) == (7, "00-a-b-01", False)
    assert sent.call.id.startswith("call-")
    assert sent.deadline == world.loop.time() + 3.0


@pytest.mark.parametrize(
    ("agent", "function", "hint"),
    [("store", "reed", "did you mean store.read?"), ("stoore", "read", "no agent stoore in namespace default; did you mean store.read?")],
)
@virtual
async def test_an_unknown_function_is_refused_at_once_with_a_hint_at_a_near_name(agent: str, function: str, hint: str) -> None:
    world = World()
    world.instance("i1")
    world.pools.put(Agent("other", "reed", functions=FUNCTIONS))

    caller = world.call(function, agent=agent)

    assert caller.error.reason is Reason.UNKNOWN_FUNCTION
    assert hint in caller.error.message
    assert caller.error.metadata["function"] == f"{agent}.{function}"


@virtual
async def test_a_name_unlike_all_others_gets_no_hint() -> None:
    assert "did you mean" not in World().call("zzzzzzzz").error.message


@virtual
async def test_arguments_outside_the_schema_never_leave() -> None:
    world = World()
    world.instance("i1")

    error = world.call("read", arguments=b"[1]").error

    assert (error.reason, error.violations) == (Reason.INVALID_ARGUMENTS, (Violation("arguments", "must be a JSON object, not an array"),))
    assert world.sent == []


@virtual
async def test_an_artifact_is_passed_on_unread() -> None:
    world = World()
    world.instance("i1")
    artifact = Artifact("sha256:" + "0" * 64, 2**30)

    caller = world.call("read", arguments=artifact)
    world.sent[0].answer(artifact)

    assert world.sent[0].call.arguments is artifact
    assert caller.answer.result is artifact


@virtual
async def test_only_the_scheduler_names_steps() -> None:
    world = World()
    world.instance("i1")

    refused = world.call("read", step=Step("run-1", "clean"))
    taken = world.call("read", step=Step("run-1", "clean"), caller=SCHEDULER)

    assert refused.error.reason is Reason.PERMISSION_DENIED
    assert "the scheduler may" in refused.error.message
    assert not taken.is_ended


@virtual
async def test_a_step_that_may_have_run_is_repeated_only_where_the_function_may_be() -> None:
    world = World()
    world.instance("i1")

    effect = world.call("write", step=Step("run-1", "clean", redelivered=True), caller=SCHEDULER)
    pure = world.call("read", step=Step("run-1", "clean", redelivered=True), caller=SCHEDULER)

    assert effect.error.reason is Reason.OUTCOME_UNKNOWN
    assert "may have run for this step already" in effect.error.message
    assert not pure.is_ended
    assert len(world.sent) == 1


@virtual
async def test_a_paused_agent_takes_no_calls_until_it_is_resumed() -> None:
    world = World()
    world.instance("i1", max_concurrency=1)
    running = world.call()
    waiting = world.call()
    world.pools.put(Agent("default", "store", paused=True, functions=FUNCTIONS))

    error = world.call().error
    world.sent[0].answer()

    assert (error.reason, error.metadata["retry_after"], error.retryable) == (Reason.NO_CAPACITY, "5", True)
    assert "store is paused; it takes calls again when it is resumed" in error.message
    assert running.is_ended
    assert len(world.sent) == 1, "what waits keeps waiting"
    world.pools.put(Agent("default", "store", functions=FUNCTIONS))
    world.sent[1].answer()
    assert waiting.answer.result == b"1"


@pytest.mark.parametrize("state", [state for state in InstanceState if state not in (InstanceState.READY, InstanceState.DEGRADED)])
@virtual
async def test_where_no_instance_is_ready_the_call_is_refused_at_once(state: InstanceState) -> None:
    world = World()
    world.instance("i1", state)

    error = world.call().error

    have = "none is running" if state is InstanceState.GONE else f"there are: {state.value}"
    assert (error.reason, error.message) == (Reason.NO_CAPACITY, f"no instance that serves store.read is ready; {have}")
    assert error.metadata["retry_after"] == "1"


@virtual
async def test_where_no_instance_carries_the_labels_the_call_is_refused_at_once() -> None:
    world = World()
    world.instance("i1", labels={"zone": "a"})

    error = world.call(labels={"zone": "b"}).error

    assert error.reason is Reason.NO_CAPACITY
    assert "carries the labels zone=b" in error.message


@virtual
async def test_a_streaming_function_is_refused_to_who_wants_no_events() -> None:
    world = World()
    world.instance("i1")

    error = world.call("rows").error

    assert error.reason is Reason.INVALID_ARGUMENTS
    assert "call it as a stream" in error.violations[0].description


@virtual
async def test_a_workflow_in_code_is_called_for_a_turn_alone() -> None:
    world = World()
    world.instance("i1")

    refused = world.call("trip", arguments=b'{"city":"Rome"}').error
    step = world.call("trip", step=Step("run-1", "main"), caller=SCHEDULER).error
    taken = world.call("trip", step=Step("run-1", "main"), caller=SCHEDULER, affinity_key="run-1")

    assert step.reason is Reason.INVALID_ARGUMENTS
    assert "run it: `run: store.trip` in a step, `ctx.run('store.trip', …)`" in step.violations[0].description
    assert refused.reason is Reason.INVALID_ARGUMENTS
    assert "start it as a run" in refused.violations[0].description
    assert not taken.is_ended


@virtual
async def test_items_and_progress_come_in_their_order_after_the_assignment() -> None:
    world = World()
    world.instance("i1")
    caller = world.call("rows", window=100)

    world.sent[0].receiver.item(b"1")
    world.sent[0].receiver.progressed(Progress(0.5, "half"))
    world.sent[0].receiver.item(b"2")
    assert caller.job is not None
    caller.job.grant(50)
    world.sent[0].answer(None)

    assert caller.events == [("assigned", "i1"), ("item", b"1"), ("progress", 0.5), ("item", b"2")]
    assert caller.answer.result is None
    assert world.sent[0].granted == 50


@virtual
async def test_who_wants_no_events_gets_none() -> None:
    world = World()
    world.instance("i1")
    caller = world.call("read")

    world.sent[0].receiver.progressed(Progress(0.5, "half"))
    world.sent[0].receiver.cancelling("ACKNOWLEDGED")
    world.sent[0].answer()

    assert caller.events == []


@virtual
async def test_an_item_outside_its_schema_ends_the_call() -> None:
    world = World()
    world.instance("i1")
    caller = world.call("rows", window=100)

    world.sent[0].receiver.item(b'"text"')
    world.sent[0].receiver.item(b"1")

    assert (caller.error.reason, caller.events) == (Reason.AGENT_ERROR, [("assigned", "i1")])
    assert "the item is outside its schema" in caller.error.message
    assert world.sent[0].is_abandoned


@virtual
async def test_what_an_instance_may_not_say_is_its_error() -> None:
    world = World()
    world.instance("i1", max_concurrency=10)
    callers = [world.call("read"), world.call("read"), world.call("rows", window=9), world.call("read", window=9)]

    world.sent[0].answer(b'"text"')
    world.sent[1].answer(None)
    world.sent[2].answer(b"1")
    world.sent[3].receiver.item(b"1")

    messages = [caller.error.message for caller in callers]
    assert {caller.error.reason for caller in callers} == {Reason.AGENT_ERROR}
    assert "the result is outside its schema" in messages[0]
    assert messages[1:] == [
        "the agent ended the call without a result",
        "the agent sent a result, which is not what this function gives",
        "the agent sent an item, which is not what this function gives",
    ]


@virtual
async def test_an_error_of_the_function_comes_with_where_it_happened() -> None:
    world = World()
    world.instance("i1")
    caller = world.call("read", call_id="call-1")

    world.sent[0].fail(Reason.AGENT_ERROR, "no such column", metadata={"exception_type": "KeyError"}, retryable=True)

    error = caller.error
    assert (error.reason, error.message, error.retryable) == (Reason.AGENT_ERROR, "no such column", True)
    assert error.metadata == {"exception_type": "KeyError", "function": "store.read", "instance": "i1", "call_id": "call-1"}
    assert len(world.sent) == 1, "a function without a policy is not called again for its error"


@virtual
async def test_a_reason_that_an_agent_may_not_give_is_its_error() -> None:
    world = World()
    world.instance("i1")
    caller = world.call()

    world.sent[0].fail(Reason.UNAVAILABLE)

    assert (caller.error.reason, caller.error.metadata["reason"]) == (Reason.AGENT_ERROR, "UNAVAILABLE")


@virtual
async def test_calls_that_come_before_the_picture_wait_for_it() -> None:
    world = World(synced=False)
    world.instance("i1")
    early, impatient, cancelled = world.call(), world.call(timeout=1.0), world.call()
    assert cancelled.job is not None
    cancelled.job.cancel()
    await pause(2)
    assert impatient.error.reason is Reason.UNAVAILABLE
    assert "has not said yet which agents there are" in impatient.error.message
    assert cancelled.error.reason is Reason.CANCELLED

    world.pools.synced()
    [sent] = world.sent
    sent.answer()

    assert early.answer.result == b"1"


@virtual
async def test_without_a_picture_calls_are_refused_in_the_end() -> None:
    world = World(synced=False)
    caller = world.call()

    await pause(FIRST_PICTURE_TIMEOUT + 0.1)

    assert caller.error.reason is Reason.UNAVAILABLE


# ---- loss and refusal


@pytest.mark.parametrize("sent", [True, False])
@virtual
async def test_a_lost_instance_is_replaced_where_the_function_may_be_repeated(sent: bool) -> None:  # noqa: FBT001
    world = World()
    world.instance("i1")
    world.instance("i2")
    caller = world.call(window=9)

    world.sent[0].lose(sent=sent)
    world.sent[1].answer(b"7")

    first, second = (each.instance.id for each in world.sent)
    assert first != second
    assert world.sent[0].call.id == world.sent[1].call.id
    assert caller.answer.instance_id == second
    assert caller.events == [("assigned", first), ("assigned", second)]
    assert [attempt[2] for attempt in world.measured.attempts] == ["AGENT_LOST", "OK"]


@virtual
async def test_with_no_other_instance_a_loss_ends_the_call_and_the_next_is_refused_until_the_pause_is_over() -> None:
    world = World()
    world.instance("i1")
    lost = world.call()

    world.sent[0].lose()

    assert (lost.error.reason, lost.error.retryable) == (Reason.AGENT_LOST, True)
    assert "the connection broke" in lost.error.message
    after = world.call().error
    assert (after.reason, after.metadata["retry_after"]) == (Reason.NO_CAPACITY, "1")
    assert "has just failed and is left alone" in after.message
    await pause(0.51)
    world.call()
    assert len(world.sent) == 2


@virtual
async def test_losses_end_with_the_attempts() -> None:
    world = World()
    for number in range(6):
        world.instance(f"i{number}")
    world.reach.behave = lambda sent: sent.lose()

    caller = world.call()
    await pause()

    assert caller.error.reason is Reason.AGENT_LOST
    assert caller.error.metadata["attempts"] == "3"
    assert len({sent.instance.id for sent in world.sent}) == 3


@virtual
async def test_after_an_item_a_loss_ends_the_call() -> None:
    world = World()
    world.instance("i1")
    world.instance("i2")
    caller = world.call("rows", window=100)
    world.sent[0].receiver.item(b"1")

    world.sent[0].lose()

    assert caller.error.reason is Reason.AGENT_LOST
    assert "after a part of the result was passed on" in caller.error.message
    assert len(world.sent) == 1


@virtual
async def test_an_instance_that_is_lost_or_gone_loses_its_calls() -> None:
    world = World()
    world.instance("i1")
    first = world.call()
    world.instance("i2")

    world.instance("i1", InstanceState.LOST)
    assert world.sent[0].is_abandoned
    assert world.sent[1].instance.id == "i2"
    world.instance("i3")
    world.pools.gone("i2")
    world.sent[2].answer(b"3")

    assert first.answer.instance_id == "i3"


@virtual
async def test_an_instance_that_drains_keeps_its_calls_and_gets_no_more() -> None:
    world = World()
    world.instance("i1")
    running = world.call()
    world.instance("i1", InstanceState.DRAINING)
    world.instance("i2")

    world.call()
    world.sent[0].answer()

    assert [sent.instance.id for sent in world.sent] == ["i1", "i2"]
    assert running.answer.instance_id == "i1"


@virtual
async def test_an_instance_that_is_full_for_others_sake_is_left_alone_for_a_moment() -> None:
    world = World()
    world.instance("i1", max_concurrency=5)
    caller = world.call()

    world.sent[0].fail(Reason.NO_CAPACITY)
    assert len(world.sent) == 1
    await pause(0.06)
    world.sent[1].answer()

    assert caller.answer.result == b"1"


@virtual
async def test_a_call_of_an_instance_that_is_full_for_others_sake_ends_and_makes_room_for_one() -> None:
    world = World()
    world.instance("i1", max_concurrency=5)
    callers = [world.call() for _ in range(4)]

    world.sent[3].fail(Reason.NO_CAPACITY)
    world.sent[2].fail(Reason.NO_CAPACITY)
    world.sent[0].answer()

    assert len(world.sent) == 5, "one ended, one more may come"
    assert world.sent[4].call.id == callers[2].job.call_id  # type: ignore[union-attr]


@virtual
async def test_another_instance_has_the_call_that_one_was_too_full_for() -> None:
    world = World()
    world.instance("i1")
    world.instance("i2")
    caller = world.call()

    world.sent[0].fail(Reason.NO_CAPACITY)
    world.sent[1].answer()

    assert {sent.instance.id for sent in world.sent} == {"i1", "i2"}
    assert caller.answer.result == b"1"


@virtual
async def test_instances_that_are_always_full_are_the_end_of_the_attempts() -> None:
    world = World()
    world.instance("i1")
    world.reach.behave = lambda sent: sent.fail(Reason.NO_CAPACITY, "the instance is full")

    caller = world.call()
    await pause(1)

    assert caller.error.reason is Reason.NO_CAPACITY
    assert caller.error.retryable
    assert len(world.sent) == 3


@virtual
async def test_a_call_that_cannot_even_be_written_is_refused_in_the_end() -> None:
    world = World()
    world.instance("i1")
    world.reach.refuses = True

    callers = [world.call() for _ in range(5)]
    await pause(1)

    assert {caller.error.reason for caller in callers} == {Reason.NO_CAPACITY}


# ---- retries


@virtual
async def test_an_error_worth_another_try_is_tried_again_with_growing_pauses() -> None:
    world = World()
    world.instance("i1", max_concurrency=10)
    times: list[float] = []

    def fail(sent: Sent) -> None:
        times.append(world.loop.time())
        sent.fail(Reason.AGENT_ERROR, "busy", retryable=True)

    world.reach.behave = fail
    caller = world.call("again")
    await pause(5)

    pauses = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert len(times) == 4
    for pause_taken, longest in zip(pauses, (0.1, 0.2, 0.4), strict=True):
        assert longest / 2 - 1e-9 <= pause_taken <= longest + 1e-9
    assert (caller.error.message, caller.error.metadata["attempts"]) == ("busy", "4")


@virtual
async def test_an_error_that_will_not_pass_is_not_tried_again() -> None:
    world = World()
    world.instance("i1")
    caller = world.call("again")

    world.sent[0].fail(Reason.AGENT_ERROR, "no such column")
    await pause(1)

    assert caller.error.message == "no such column"
    assert len(world.sent) == 1


@virtual
async def test_retries_stay_within_the_budget() -> None:
    world = World()
    world.instance("i1", max_concurrency=10_000)
    world.reach.behave = lambda sent: sent.fail(Reason.AGENT_ERROR, "busy", retryable=True)

    callers = []
    for _ in range(1000):
        callers.append(world.call("again"))
        await pause(0.01)
    await pause(10)

    assert all(caller.error.message == "busy" for caller in callers)
    retries = len(world.sent) - 1000
    assert CAPACITY <= retries <= CAPACITY + 100


@virtual
async def test_a_retry_that_would_come_after_the_deadline_is_not_made() -> None:
    world = World()
    world.instance("i1")
    caller = world.call("again", timeout=0.04)

    world.sent[0].fail(Reason.AGENT_ERROR, "busy", retryable=True)

    assert caller.error.message == "busy"
