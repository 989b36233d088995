"""Calls that agents make for whoever called them: made for that one, narrowed on their way, refused where they reach too far."""

from typing import Any

import pytest

from parade.wire.errors import Reason
from parade.wire.identity import Identity
from parade.wire.mandate import MANDATE, WHOLE, Mandate, Refusal, Scope, holder_of
from parade.wire.roles import Role
from parade_chassis.grants import Granted
from parade_dispatcher.model import Request, Step
from tests.unit.dispatcher.engine_world import CLIENT, Caller, World, pause, virtual

SHOP = Identity.agent("shop", "i-1")
ANN = Identity.client("ann")
SCOPE = Scope(("store.read", "bank.*"), ("spiffe://parade.local/ns/default/agent/till",), "t-1")


def world_of(role: Role = Role.DEVELOPER) -> World:
    world = World()
    world.instance("one", max_concurrency=100)
    world.grants.replace([Granted(ANN.uri, "default", role)])
    return world


def mandate(scope: Scope = SCOPE, subject: str = ANN.uri, run: str = "run-1") -> Mandate:
    return Mandate("spiffe://parade.local/service/dispatcher", subject, "default", holder_of(SHOP), run, scope, 0, 600)


def nested(world: World, shown: Mandate, function: str = "read", caller: Identity = SHOP, **fields: Any) -> Caller:
    world.shown.mandates[b"m"] = shown
    return world.call(function, caller=caller, mandate=b"m", **fields)


def why(caller: Caller) -> str:
    assert caller.error.reason is Reason.PERMISSION_DENIED
    return caller.error.metadata[MANDATE]


@virtual
async def test_a_call_by_mandate_is_made_for_its_subject() -> None:
    world = world_of()

    nested(world, mandate())
    await pause()

    (sent,) = world.sent
    assert (sent.call.principal, sent.call.run_id, sent.call.step) == (ANN.uri, "run-1", "")
    assert sent.call.scope == Scope(SCOPE.functions, (holder_of(SHOP), *SCOPE.actors), "t-1")


@virtual
async def test_an_agent_without_a_mandate_calls_for_itself() -> None:
    world = world_of()

    world.call("read", caller=SHOP)
    await pause()

    (sent,) = world.sent
    assert (sent.call.scope, sent.call.run_id) == (WHOLE, "")


@virtual
async def test_a_call_may_be_narrowed_and_never_widened() -> None:
    world = world_of()

    nested(world, mandate(), functions=("*",))
    nested(world, mandate(), functions=("store.*", "bank.pay", "post.send"))
    nested(world, mandate(), functions=("post.send",))
    await pause()

    assert [sent.call.scope.functions for sent in world.sent] == [("bank.*", "store.read"), ("bank.pay", "store.read"), ()]


@virtual
async def test_whoever_calls_first_may_narrow_what_comes_of_it() -> None:
    world = world_of()

    world.call("read", functions=("bank.pay",))
    await pause()

    (sent,) = world.sent
    assert (sent.call.scope, sent.call.principal) == (Scope(("bank.pay",)), CLIENT.uri)


@virtual
async def test_a_function_that_the_mandate_does_not_name_is_refused() -> None:
    world = world_of()

    caller = nested(world, mandate(), "write")
    nothing = nested(world, mandate(Scope(())))

    assert (why(caller), why(nothing), world.sent) == (Refusal.FUNCTION, Refusal.FUNCTION, [])
    assert "store.read, bank.*" in caller.error.message
    assert "store.write" in caller.error.message


@pytest.mark.parametrize(
    "caller", [CLIENT, Identity.service("gateway"), Identity.service("scheduler"), Identity.service("dispatcher")], ids=lambda one: one.kind
)
def test_only_agents_show_mandates(caller: Identity) -> None:
    @virtual
    async def test() -> None:
        world = world_of()

        assert why(nested(world, mandate(), caller=caller)) == Refusal.HOLDER
        assert world.sent == []

    test()


@virtual
async def test_another_agents_mandate_is_refused_and_so_is_one_of_another_namespace() -> None:
    world = world_of()

    for caller in (Identity.agent("till", "i-2"), Identity.agent("shop", "i-1", "sales")):
        assert nested(world, mandate(), caller=caller).error.reason is Reason.PERMISSION_DENIED
    assert world.sent == []


@virtual
async def test_agents_that_call_each_other_in_a_circle_end_somewhere() -> None:
    world = world_of()
    chain = tuple(f"spiffe://parade.local/ns/default/agent/{name}" for name in ("till", "shop"))

    nested(world, mandate(WHOLE._replace(actors=chain)))
    caller = nested(world, mandate(WHOLE._replace(actors=(*chain, *chain))))
    await pause()

    assert why(caller) == Refusal.DEPTH
    assert "shop → till → shop → till → shop → store" in caller.error.message
    assert len(world.sent) == 1


@virtual
async def test_who_may_call_nothing_any_more_has_nothing_called_for_them() -> None:
    world = world_of(Role.VIEWER)

    caller = nested(world, mandate())

    assert (caller.error.reason, world.sent) == (Reason.PERMISSION_DENIED, [])
    assert ANN.uri in caller.error.message
    assert "developer" in caller.error.message


@virtual
async def test_while_nobody_has_said_who_may_call_it_is_not_called_and_not_called_for_the_agent_itself() -> None:
    world = World()
    world.instance("one")
    world.grants.told.clear()
    request = Request("store", "read", b"{}", SHOP, "default", SHOP.uri, mandate=b"m")
    world.shown.mandates[b"m"] = mandate()

    for _ in range(2):
        with pytest.raises(Exception, match="has not been told yet") as caught:
            world.engine.check(request)
        assert caught.value.reason is Reason.UNAVAILABLE  # type: ignore[attr-defined]
    world.grants.replace([Granted(ANN.uri, "default", Role.DEVELOPER)])
    world.engine.check(request)

    assert (request.principal, request.mandate) == (ANN.uri, b"")


@virtual
async def test_a_steps_call_belongs_to_its_run() -> None:
    world = world_of()

    world.call("read", caller=Identity.service("scheduler"), step=Step("run-2", "clean"))
    await pause()

    assert (world.sent[0].call.run_id, world.sent[0].call.step, world.sent[0].call.scope) == ("run-2", "clean", WHOLE)
