"""A namespace has so many calls under way; what is beyond is refused at once, whatever becomes of those that are."""

from parade.wire.errors import Reason
from parade_dispatcher.model import Agent, Instance, InstanceState
from parade_dispatcher.quotas import Room
from tests.unit.dispatcher.engine_world import FUNCTIONS, World, pause, virtual


def narrow(limit: int = 2) -> tuple[World, Room]:
    """Returns a world in which a namespace may have so many calls, at an instance that takes one at a time."""
    world = World()
    world.instance("i1", max_concurrency=1)
    pool = world.pools.pool("default", "store")
    assert pool is not None
    pool.room.limit = limit
    return world, pool.room


@virtual
async def test_one_too_many_is_refused_at_once_and_says_how_more_is_allowed() -> None:
    world, _ = narrow()
    running, waiting = world.call(), world.call()

    refused = world.call()

    error = refused.error
    assert (error.reason, error.retryable, error.metadata["quota"]) == (Reason.NO_CAPACITY, True, "calls")
    assert "PARADE_DISPATCHER_QUOTAS" in error.message
    assert not running.is_ended
    assert not waiting.is_ended


@virtual
async def test_every_end_of_a_call_makes_room() -> None:
    world, room = narrow(10)
    answered, failed, cancelled, waiting = (world.call() for _ in range(4))
    expired = world.call(timeout=1.0)
    effect = world.call("write")
    assert room.taken == 6

    world.sent[0].answer(b"1")
    for caller in (waiting, cancelled):
        assert caller.job is not None
        caller.job.cancel()
    await pause(2)
    world.pools.gone("i1")
    await pause(100)

    assert all(caller.is_ended for caller in (answered, failed, cancelled, waiting, expired, effect))
    assert room.taken == 0


@virtual
async def test_what_is_refused_before_it_begins_takes_no_room() -> None:
    world, room = narrow()

    for fields in ({"function": "nothing"}, {"timeout": 0.0}, {"arguments": b"[]"}):
        world.call(**fields)

    assert room.taken == 0


@virtual
async def test_all_agents_of_a_namespace_share_its_room_and_other_namespaces_have_their_own() -> None:
    world, room = narrow()
    for namespace, agent in (("default", "second"), ("other", "store")):
        world.pools.put(Agent(namespace, agent, functions=FUNCTIONS))
        world.pools.put(
            Instance(f"{namespace}-{agent}", namespace, agent, "127.0.0.1:1", "x.test", InstanceState.READY, 2, functions=FUNCTIONS)
        )
    world.call()
    world.call(agent="second")

    refused = world.call(agent="second")
    elsewhere = world.pools.pool("other", "store")

    assert refused.error.metadata["quota"] == "calls"
    assert room.taken == 2
    assert elsewhere is not None
    assert elsewhere.room.taken == 0
    assert elsewhere.room.limit > 2
