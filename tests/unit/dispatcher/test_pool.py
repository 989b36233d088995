"""Which instance gets a call, and which call an instance gets.

One file, though a long one: it is the table of the pool's rules, read as a whole.
"""

from collections import Counter
from typing import Any

import pytest

from parade.wire.errors import Reason
from parade_dispatcher.ejection import FAILURES_IN_A_ROW, FIRST_PAUSE, LONGEST_PAUSE
from parade_dispatcher.member import Standing
from parade_dispatcher.model import Function, InstanceState
from parade_dispatcher.pool import MOST_WAITING
from parade_dispatcher.slow_start import DURATION
from tests.unit.dispatcher.engine_world import FUNCTIONS, Caller, World, pause, virtual


def counts(world: World) -> Counter[str]:
    return Counter(sent.instance.id for sent in world.sent if not sent.is_over)


def order(world: World, callers: dict[str, Caller]) -> list[str]:
    """Returns the names of the calls in the order in which instances got them."""
    names = {caller.job.call_id: name for name, caller in callers.items() if caller.job is not None}
    return [names[sent.call.id] for sent in world.sent if sent.call.id in names]


# ---- balance


@virtual
async def test_ready_instances_come_before_degraded_ones() -> None:
    world = World()
    world.instance("worse", InstanceState.DEGRADED, max_concurrency=1)
    world.instance("good", max_concurrency=1)

    world.call()
    world.call()

    assert [sent.instance.id for sent in world.sent] == ["good", "worse"]


@virtual
async def test_calls_spread_over_many_instances() -> None:
    world = World(synced=False)
    for number in range(10):
        world.instance(f"i{number}", max_concurrency=1000)
    world.pools.synced()

    for _ in range(1000):
        world.call()

    assert max(counts(world).values()) - min(counts(world).values()) < 10


@virtual
async def test_of_two_instances_the_one_with_fewer_calls_is_taken() -> None:
    world = World(synced=False)
    world.instance("a", max_concurrency=100)
    world.instance("b", max_concurrency=100)
    world.pools.synced()

    for _ in range(100):
        world.call()

    assert abs(counts(world)["a"] - counts(world)["b"]) <= 1


@virtual
async def test_only_an_instance_that_serves_the_function_gets_it() -> None:
    world = World()
    world.instance("old", max_concurrency=1, functions={name: FUNCTIONS[name] for name in ("write", "again")})
    world.instance("new", max_concurrency=1)
    callers = [world.call("read") for _ in range(3)]
    world.call("again")

    assert counts(world) == {"new": 1, "old": 1}
    world.with_instance("old")[0].answer()
    assert counts(world) == {"new": 1}, "the others wait for who serves them"
    world.with_instance("new")[0].answer()
    assert counts(world) == {"new": 1}
    assert callers[0].is_ended


@virtual
async def test_calls_that_wait_are_kept_when_instances_of_another_version_come_and_go() -> None:
    world = World()
    world.instance("a", max_concurrency=1)
    callers = {str(number): world.call() for number in range(3)}
    more = {**FUNCTIONS, "more": Function("more")}

    world.instance("b", InstanceState.JOINING, functions=more)
    world.instance("b", functions=more, max_concurrency=1)
    world.pools.gone("a")
    world.with_instance("b")[0].answer()
    world.with_instance("b")[0].answer()
    world.with_instance("b")[0].answer()

    assert all(caller.answer.instance_id == "b" for caller in callers.values())


@virtual
async def test_labels_select() -> None:
    world = World()
    for number in range(8):
        world.instance(
            f"i{number}", labels={"zone": "a" if number % 2 else "b", "gpu": "yes" if number == 3 else "no"}, max_concurrency=100
        )

    for _ in range(20):
        world.call(labels={"zone": "a"})
    world.call(labels={"zone": "a", "gpu": "yes"})

    assert set(counts(world)) == {"i1", "i3", "i5", "i7"}
    assert world.sent[-1].instance.id == "i3"


@virtual
async def test_a_changed_label_counts_from_then_on() -> None:
    world = World()
    world.instance("i1", labels={"zone": "a"}, max_concurrency=1)
    world.call(labels={"zone": "a"})
    waiting = world.call(labels={"zone": "a"})
    world.instance("i1", labels={"zone": "b"}, max_concurrency=1)
    world.sent[0].answer()
    assert len(world.sent) == 1

    world.instance("i2", labels={"zone": "a"})
    world.sent[1].answer()

    assert waiting.answer.instance_id == "i2"


# ---- the queue


@virtual
async def test_calls_wait_by_priority_then_by_arrival() -> None:
    world = World()
    world.instance("i1", max_concurrency=1)
    world.call()
    callers = {name: world.call(priority=priority) for name, priority in [("a", 0), ("b", -5), ("c", 7), ("d", 0), ("e", 7), ("f", 100)]}

    for _ in range(7):
        world.with_instance("i1")[0].answer()

    assert order(world, callers) == ["f", "c", "e", "a", "d", "b"]


@virtual
async def test_calls_of_all_kinds_wait_in_one_order() -> None:
    world = World()
    world.instance("i1", max_concurrency=1, labels={"zone": "a"})
    world.call()
    kinds: list[tuple[str, dict[str, Any]]] = [
        ("a", {}),
        ("b", {"labels": {"zone": "a"}}),
        ("c", {"affinity_key": "k"}),
        ("d", {"priority": 1, "labels": {"zone": "a"}}),
    ]
    callers = {name: world.call(**fields) for name, fields in kinds}

    for _ in range(5):
        world.with_instance("i1")[0].answer()

    assert order(world, callers) == ["d", "a", "b", "c"]


@virtual
async def test_the_queue_has_a_bound() -> None:
    world = World()
    world.instance("i1", max_concurrency=1)
    callers = [world.call() for _ in range(1 + MOST_WAITING)]

    error = world.call().error

    assert not any(caller.is_ended for caller in callers)
    assert (error.reason, error.metadata["retry_after"]) == (Reason.NO_CAPACITY, "1")
    assert error.message == "every instance of store is full; 1 in all, which run 1 calls from here, and 10,000 calls wait"
    for caller in callers[1:]:
        assert caller.job is not None
        caller.job.cancel()
    assert not world.call().is_ended, "who leaves makes room"


@virtual
async def test_a_new_instance_takes_what_waits() -> None:
    world = World()
    world.instance("i1", max_concurrency=1)
    callers = [world.call() for _ in range(4)]

    world.instance("i2", max_concurrency=2)

    assert counts(world) == {"i1": 1, "i2": 2}
    assert not callers[3].is_ended


@virtual
async def test_calls_wait_where_the_last_instance_leaves_meanwhile() -> None:
    world = World()
    world.instance("i1", max_concurrency=1)
    running, waiting = world.call(), world.call()
    world.instance("i1", InstanceState.DRAINING)
    world.sent[0].answer()
    assert running.is_ended

    world.instance("i2")
    world.sent[1].answer()

    assert waiting.answer.instance_id == "i2"


# ---- affinity


@virtual
async def test_calls_of_one_key_go_to_one_instance_and_wait_for_it() -> None:
    world = World()
    for number in range(5):
        world.instance(f"i{number}", max_concurrency=2)
    callers = [world.call(affinity_key="alice") for _ in range(4)]

    assert list(counts(world).values()) == [2]
    [chosen] = counts(world)
    world.with_instance(chosen)[0].answer()
    world.with_instance(chosen)[0].answer()
    world.with_instance(chosen)[0].answer()
    world.with_instance(chosen)[0].answer()

    assert {caller.answer.instance_id for caller in callers} == {chosen}


@virtual
async def test_every_dispatcher_chooses_the_same_instance_for_a_key() -> None:
    worlds = [World(), World()]
    for world, numbers in zip(worlds, (range(8), reversed(range(8))), strict=True):
        for number in numbers:
            world.instance(f"i{number}", max_concurrency=100)
        for key in range(50):
            world.call(affinity_key=f"key-{key}")

    first, second = ([sent.instance.id for sent in world.sent] for world in worlds)
    assert first == second
    assert max(Counter(first).values()) <= 20, "keys spread"


@pytest.mark.parametrize("state", [InstanceState.DRAINING, InstanceState.LOST, InstanceState.GONE])
@virtual
async def test_a_key_moves_with_all_that_waits_when_its_instance_leaves(state: InstanceState) -> None:
    world = World()
    for number in range(3):
        world.instance(f"i{number}", max_concurrency=1)
    callers = [world.call(affinity_key="alice") for _ in range(3)]
    left = world.sent[0].instance.id

    world.instance(left, state, max_concurrency=1)
    for _ in range(3):
        for sent in list(world.sent):
            sent.answer()

    assert all(caller.is_ended for caller in callers)
    assert len({caller.answer.instance_id for caller in callers[1:]} - {left}) == 1
    world.instance(left, max_concurrency=1)
    world.call(affinity_key="alice")
    assert world.sent[-1].instance.id == callers[2].answer.instance_id, "it stays where it is now"


@virtual
async def test_a_key_leaves_an_instance_that_failed() -> None:
    world = World()
    world.instance("i1")
    world.instance("i2")
    caller = world.call(affinity_key="alice")
    waiting = [world.call(affinity_key="alice") for _ in range(3)]

    world.sent[0].lose()

    assert {sent.instance.id for sent in world.sent[2:]} == {"i1", "i2"} - {world.sent[0].instance.id}
    assert not caller.is_ended
    assert not any(each.is_ended for each in waiting)


# ---- slow start


@virtual
async def test_the_share_of_a_new_instance_grows() -> None:
    world = World()
    for number in range(3):
        world.instance(f"old{number}", max_concurrency=1000)
    await pause(DURATION + 1)
    world.instance("new", max_concurrency=1000)

    shares = []
    for _ in range(5):
        for sent in world.sent:
            sent.answer()
        world.sent.clear()
        for _ in range(400):
            world.call()
        shares.append(counts(world)["new"])
        await pause(DURATION / 4)

    assert shares == sorted(shares)
    assert 0 < shares[0] < 20
    assert 90 <= shares[-1] <= 110


@virtual
async def test_an_instance_that_is_alone_or_was_there_before_does_not_start_slowly() -> None:
    world = World(synced=False)
    world.instance("a")
    world.instance("b")
    world.pools.synced()
    other = World()
    other.instance("c")

    members = [world.pools.member("a"), world.pools.member("b"), other.pools.member("c")]

    assert [member.weight for member in members if member is not None] == [1.0, 1.0, 1.0]


# ---- ejection


def standing(world: World, instance_id: str) -> Standing:
    member = world.pools.member(instance_id)
    assert member is not None
    return member.standing


@virtual
async def test_a_lost_instance_is_left_alone_then_tried_with_one_call() -> None:
    world = World()
    world.instance("a", max_concurrency=5)
    world.call()
    world.sent[0].lose()
    assert standing(world, "a") is Standing.EJECTED

    await pause(FIRST_PAUSE + 0.01)
    callers = [world.call() for _ in range(3)]
    assert len(world.sent) == 2, "one call is on trial"
    world.sent[1].answer()

    assert standing(world, "a") is Standing.TRUSTED
    assert len(world.sent) == 4
    assert callers[0].is_ended


@virtual
async def test_the_pause_grows_while_trials_fail_and_has_an_upper_bound() -> None:
    world = World()
    world.instance("a")
    member = world.pools.member("a")
    assert member is not None
    pool = world.pools.pool("default", "store")
    assert pool is not None
    pauses = []
    for _ in range(9):
        world.call()
        world.sent[-1].lose()
        pauses.append(pool.ejection.pause_left(member))
        await pause(pauses[-1] + 0.01)

    assert pauses[:4] == pytest.approx([FIRST_PAUSE, FIRST_PAUSE * 2, FIRST_PAUSE * 4, FIRST_PAUSE * 8])
    assert pauses[-1] == pytest.approx(LONGEST_PAUSE)


@virtual
async def test_at_most_half_of_the_instances_are_ejected_and_the_rest_of_the_failing_are_asked_last() -> None:
    world = World()
    for number in range(5):
        world.instance(f"i{number}", max_concurrency=10)
    for _ in range(40):
        world.call()
    for bad in ("i0", "i1", "i2", "i3"):
        for sent in world.with_instance(bad):
            sent.lose()

    ejected = [id for id in ("i0", "i1", "i2", "i3", "i4") if standing(world, id) is Standing.EJECTED]
    assert len(ejected) == 2
    for sent in list(world.sent):
        sent.answer()
    suspects = {"i0", "i1", "i2", "i3"} - set(ejected)
    callers = [world.call() for _ in range(10)]
    assert {sent.instance.id for sent in world.sent[-10:]} <= {"i4"} | suspects
    assert not any(caller.is_ended for caller in callers)


@virtual
async def test_an_instance_that_fails_beside_others_that_do_not_is_ejected() -> None:
    world = World()
    for number in range(3):
        world.instance(f"i{number}", max_concurrency=100)
    world.reach.behave = lambda sent: (
        sent.fail(Reason.AGENT_ERROR, "no connection to my database", retryable=True) if sent.instance.id == "i1" else sent.answer()
    )
    for _ in range(FAILURES_IN_A_ROW * 12):
        world.call()
        await pause()

    assert [standing(world, f"i{number}") for number in range(3)] == [Standing.TRUSTED, Standing.EJECTED, Standing.TRUSTED]


@virtual
async def test_a_function_that_raises_for_its_arguments_is_no_fault_of_its_instance() -> None:
    world = World()
    world.instance("i1", max_concurrency=100)
    world.instance("i2", max_concurrency=100)
    world.reach.behave = lambda sent: sent.fail(Reason.AGENT_ERROR, "no such column") if sent.instance.id == "i1" else sent.answer()

    for _ in range(100):
        world.call()
        await pause()

    assert standing(world, "i1") is Standing.TRUSTED


@virtual
async def test_a_function_that_fails_everywhere_ejects_nobody() -> None:
    world = World()
    for number in range(4):
        world.instance(f"i{number}", max_concurrency=100)
    world.reach.behave = lambda sent: sent.fail(Reason.AGENT_ERROR, "the site is down", retryable=True)
    for _ in range(200):
        world.call()
    await pause()

    for _ in range(20):
        world.call()
    await pause()

    assert {standing(world, f"i{number}") for number in range(4)} == {Standing.TRUSTED}


@virtual
async def test_an_instance_that_says_nothing_until_the_deadline_is_ejected() -> None:
    world = World()
    world.instance("frozen", max_concurrency=100)
    world.instance("good", max_concurrency=100)
    world.reach.behave = lambda sent: sent.answer() if sent.instance.id == "good" else None
    for _ in range(40):
        world.call(timeout=0.1)
        await pause(0.01)
    await pause(0.2)

    assert (standing(world, "frozen"), standing(world, "good")) == (Standing.EJECTED, Standing.TRUSTED)
