"""Calls that policies forbid, or let through only where somebody approves exactly them.

One file, though a long one: it follows one kind of call through every way that its wait can end.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from parade.wire.audit import Kind
from parade.wire.errors import ParadeError, Reason
from parade.wire.identity import Identity
from parade.wire.mandate import Scope
from parade.wire.roles import Role
from parade_chassis.grants import Granted
from parade_chassis.policies import PolicyText
from parade_dispatcher.approval import SHOWN, Approval, ApprovalState
from parade_dispatcher.approvals import LOOK_INTERVAL, MARGIN, MOST_WAITING
from parade_dispatcher.model import Effect, Step
from tests.unit.dispatcher.engine_world import APPROVAL_LIFETIME, CLIENT, FUNCTIONS, Caller, World, pause, virtual

OPERATOR = "spiffe://parade.local/ns/default/client/operator"
SCHEDULER = Identity.service("scheduler")
ASKS = '@id("ask") @approval("operator") forbid (principal, action == Parade::Action::"call", resource);'
ASKS_ADMIN = ASKS.replace("operator", "admin")
FORBIDS = '@id("never") forbid (principal, action, resource);'


def put(world: World, text: str) -> None:
    world.policies.replace([PolicyText("default", "careful", 1, text)] if text else [])


@asynccontextmanager
async def guarded(text: str = ASKS) -> AsyncIterator[World]:
    """An engine with an instance, a policy, and what looks after approvals."""
    world = World()
    world.instance("i1")
    put(world, text)
    keeping = asyncio.create_task(world.approvals.keep())
    yield world
    keeping.cancel()


async def waiting(world: World, function: str = "read", **fields: Any) -> tuple[Caller, Approval]:
    """Makes a call that waits for its approval."""
    before = set(world.approved.approvals)
    caller = world.call(function, **fields)
    await pause()
    [id] = world.approved.approvals.keys() - before
    assert not caller.is_ended
    return caller, world.approved.approvals[id]


async def resolve(world: World, approval: Approval, state: ApprovalState = ApprovalState.APPROVED, note: str = "") -> Approval:
    found = await world.approvals.get("default", approval.id)
    resolved = await world.approvals.resolve(replace(found, state=state, by=OPERATOR, note=note), "/parade.v1.Test/Resolve")
    await pause()
    return resolved


@virtual
async def test_what_a_policy_forbids_is_not_called() -> None:
    async with guarded(FORBIDS) as world:
        caller = world.call()
        await pause()

        assert caller.error.reason is Reason.PERMISSION_DENIED
        assert "careful@1#never" in caller.error.message
        assert caller.error.metadata["function"] == "store.read"
        assert world.sent == []


@virtual
async def test_a_call_that_needs_an_approval_waits_for_it() -> None:
    async with guarded() as world:
        caller, approval = await waiting(world, arguments=b'{"a":1}', call_id="call-0001")
        assert world.sent == []
        await pause(3)

        await resolve(world, approval)
        world.sent[0].answer()

        assert caller.answer.result == b"1"
        assert (approval.function, approval.arguments, approval.arguments_size) == ("store.read", '{"a":1}', 7)
        assert (approval.rules, approval.approver, approval.call_id) == (("careful@1#ask",), Role.OPERATOR, "call-0001")
        assert approval.expire_time - approval.create_time == APPROVAL_LIFETIME


@virtual
async def test_how_it_was_resolved_is_on_the_audit_log() -> None:
    async with guarded() as world:
        _, approval = await waiting(world)
        await resolve(world, approval, ApprovalState.REJECTED, "too dear")

        [record] = world.approved.records
        assert (record.kind, record.subject, record.resource) == (Kind.APPROVAL, OPERATOR, f"call-approvals/{approval.id}")
        assert record.facts["arguments_hash"] == approval.arguments_hash
        assert (record.facts["approved"], record.facts["note"]) == (False, "too dear")


@virtual
async def test_who_waits_hears_at_once_where_it_was_resolved_here_and_within_a_second_elsewhere() -> None:
    async with guarded() as world:
        _, first = await waiting(world)
        began = world.loop.time()
        await resolve(world, first)
        assert world.loop.time() - began < 0.01
        assert len(world.sent) == 1

        _, second = await waiting(world)
        world.approved.approvals[second.id] = replace(second, state=ApprovalState.APPROVED, by=OPERATOR)
        await pause(LOOK_INTERVAL + 0.01)
        assert len(world.sent) == 2


@virtual
async def test_a_rejected_call_ends_and_says_who_did_it_and_why() -> None:
    async with guarded() as world:
        caller, approval = await waiting(world, call_id="call-0001")
        await resolve(world, approval, ApprovalState.REJECTED, "ask for less")
        again = world.call(call_id="call-0001")
        await pause()

        for one in (caller, again):
            assert one.error.reason is Reason.PERMISSION_DENIED
            assert one.error.message.endswith(f"{OPERATOR} has rejected it: ask for less")
            assert one.error.metadata["approval"] == approval.id
        assert world.sent == []


@virtual
async def test_a_person_takes_no_time_of_the_function() -> None:
    async with guarded() as world:
        caller, approval = await waiting(world)
        await pause(3600)
        await resolve(world, approval)
        await pause(9.9)
        assert not caller.is_ended
        await pause(0.2)

        assert caller.error.reason is Reason.DEADLINE_EXCEEDED
        assert FUNCTIONS["read"].timeout == 10


@virtual
async def test_a_caller_waits_no_longer_than_it_said_and_can_come_again() -> None:
    async with guarded() as world:
        caller, approval = await waiting(world, timeout=60, call_id="call-0001")
        await pause(60)
        assert caller.at == 1060 - MARGIN or caller.at < 1060
        assert caller.error.reason is Reason.APPROVAL_REQUIRED
        assert caller.error.metadata["approval"] == approval.id
        assert caller.error.metadata["approver"] == "operator"
        assert caller.error.metadata["call_id"] == "call-0001"

        again = world.call(timeout=60, call_id="call-0001")
        await pause()
        assert list(world.approved.approvals) == [approval.id]
        await resolve(world, approval)
        world.sent[0].answer()
        assert again.answer.result == b"1"


@virtual
async def test_after_its_approval_a_call_still_has_only_the_time_that_its_caller_gave() -> None:
    async with guarded() as world:
        caller, approval = await waiting(world, timeout=8)
        await pause(5)
        await resolve(world, approval)
        await pause(3.1)

        assert caller.error.reason is Reason.DEADLINE_EXCEEDED
        assert caller.at < 1008.1


@virtual
async def test_who_does_not_want_to_wait_is_told_at_once_and_comes_again() -> None:
    async with guarded() as world:
        caller = world.call(approval_wait=False, call_id="call-0001")
        await pause()
        assert caller.error.reason is Reason.APPROVAL_REQUIRED
        [approval] = world.approved.approvals.values()
        await resolve(world, approval)

        again = world.call(approval_wait=False, call_id="call-0001")
        await pause()
        world.sent[0].answer()
        assert again.answer.result == b"1"


@virtual
async def test_a_caller_that_wants_events_hears_what_it_waits_for() -> None:
    async with guarded() as world:
        caller, _ = await waiting(world, window=100)
        quiet, _ = await waiting(world)

        assert caller.events == [("progress", -1.0)]
        assert quiet.events == []


CHANGES: dict[str, dict[str, Any]] = {
    "another call": {"call_id": "call-0002"},
    "other arguments": {"arguments": b'{"a":2}'},
    "somebody else": {"principal": "key:0123456789"},
    "through an agent": {"scope": Scope(actors=("spiffe://parade.local/ns/default/agent/broker",))},
    "another function": {"function": "again"},
    "a key of its own": {"idempotency_key": "call-0001"},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@virtual
async def test_an_approval_is_for_one_call_and_no_other(change: dict[str, Any]) -> None:
    async with guarded() as world:
        asked: dict[str, Any] = {"function": "read", "call_id": "call-0001", "arguments": b'{"a":1}'}
        _, approval = await waiting(world, **asked)
        await resolve(world, approval)
        assert len(world.sent) == 1

        await waiting(world, **{**asked, **change})
        assert len(world.sent) == 1


@virtual
async def test_the_same_idempotency_key_is_the_same_call() -> None:
    async with guarded() as world:
        caller, approval = await waiting(world, "write", call_id="call-0001", idempotency_key="order-7")
        await resolve(world, approval)
        world.sent[0].answer()
        await pause()

        again = world.call("write", call_id="call-0002", idempotency_key="order-7")
        await pause()

        assert again.answer is caller.answer
        assert len(world.sent) == 1
        other, _ = await waiting(world, "write", call_id="call-0003", idempotency_key="order-7", arguments=b'{"a":2}')
        assert not other.is_ended


@virtual
async def test_a_cancelled_call_takes_its_approval_back() -> None:
    async with guarded() as world:
        caller, approval = await waiting(world)
        assert caller.job is not None
        caller.job.cancel()
        assert caller.error.reason is Reason.CANCELLED
        await pause(LOOK_INTERVAL + 0.01)

        assert world.approved.approvals[approval.id].state is ApprovalState.WITHDRAWN
        with pytest.raises(ParadeError) as caught:
            await resolve(world, approval)
        assert caught.value.reason is Reason.FAILED_PRECONDITION


@virtual
async def test_the_approval_stays_where_the_caller_is_gone_for_it_may_come_again() -> None:
    async with guarded() as world:
        caller, approval = await waiting(world, call_id="call-0001")
        assert caller.job is not None
        caller.job.gone()
        await pause(LOOK_INTERVAL + 0.01)
        assert world.approved.approvals[approval.id].state is ApprovalState.PENDING
        await resolve(world, approval)
        assert world.sent == []

        again = world.call(call_id="call-0001", redelivered=True)
        await pause()
        world.sent[0].answer()
        assert again.answer.result == b"1"


@virtual
async def test_a_steps_call_waits_on_at_another_dispatcher() -> None:
    async with guarded() as first, guarded() as second:
        second.approvals._opened = first.approved.opened
        fields = {"caller": SCHEDULER, "call_id": "step-0001", "step": Step("run-1", "pay")}
        caller, approval = await waiting(first, "write", **fields)
        assert caller.job is not None
        caller.job.gone()

        fields["step"] = Step("run-1", "pay", redelivered=True)
        again = second.call("write", redelivered=True, **fields)
        await pause()
        assert list(first.approved.approvals) == [approval.id]
        assert (approval.run_id, approval.step) == ("run-1", "pay")
        await resolve(first, approval)
        await pause(LOOK_INTERVAL + 0.01)
        second.sent[0].answer()
        await pause()

        assert again.answer.result == b"1"


@virtual
async def test_an_approval_that_nobody_gives_in_time_ends_the_call() -> None:
    async with guarded() as world:
        caller, approval = await waiting(world, call_id="call-0001")
        await pause(APPROVAL_LIFETIME.total_seconds() + LOOK_INTERVAL)
        assert caller.error.reason is Reason.PERMISSION_DENIED
        assert "nobody resolved it in time" in caller.error.message

        with pytest.raises(ParadeError) as caught:
            await resolve(world, approval)
        assert caught.value.reason is Reason.FAILED_PRECONDITION


@virtual
async def test_an_approval_is_good_for_a_day_and_no_longer() -> None:
    async with guarded() as world:
        _, approval = await waiting(world, call_id="call-0001")
        await resolve(world, approval)
        assert len(world.sent) == 1
        await pause(APPROVAL_LIFETIME.total_seconds())

        again = world.call(call_id="call-0001")
        await pause()
        assert again.error.reason is Reason.PERMISSION_DENIED
        assert len(world.sent) == 1


@pytest.mark.parametrize(
    ("text", "reason"),
    [(FORBIDS, Reason.PERMISSION_DENIED), (ASKS_ADMIN, Reason.PERMISSION_DENIED), ("", None)],
    ids=["forbidden by now", "needs a higher role by now", "allowed by now"],
)
@virtual
async def test_policies_are_asked_again_when_the_approval_comes(text: str, reason: Reason | None) -> None:
    async with guarded() as world:
        caller, approval = await waiting(world)
        put(world, text)
        await resolve(world, approval)

        assert [error.reason for error in caller.outcomes if isinstance(error, ParadeError)] == ([reason] if reason else [])
        assert len(world.sent) == (0 if reason else 1)


@virtual
async def test_who_may_call_nothing_by_then_is_refused() -> None:
    async with guarded() as world:
        caller, approval = await waiting(world)
        world.grants.put(Granted(CLIENT.uri, "default", Role.VIEWER))
        await resolve(world, approval)

        assert caller.error.reason is Reason.PERMISSION_DENIED
        assert "only the role viewer" in caller.error.message
        assert world.sent == []


@virtual
async def test_a_function_that_is_gone_by_then_is_not_called() -> None:
    async with guarded() as world:
        caller, approval = await waiting(world)
        world.pools.withdrawn("default", "store")
        await resolve(world, approval)

        assert caller.error.reason is Reason.UNKNOWN_FUNCTION


@virtual
async def test_a_call_that_waits_ends_with_the_call_that_it_is_a_part_of() -> None:
    async with guarded("") as world:
        parent = world.call("again", call_id="call-0001")
        await pause()
        put(world, ASKS)
        child, _ = await waiting(world, parent_call_id="call-0001")
        late, _ = await waiting(world, parent_call_id="call-0001")
        assert parent.job is not None
        parent.job.cancel()
        assert child.error.reason is Reason.CANCELLED
        assert late.error.reason is Reason.CANCELLED

        after = world.call(parent_call_id="call-0001")
        assert after.error.reason is Reason.CANCELLED


@virtual
async def test_a_call_waits_no_longer_than_the_call_that_it_is_a_part_of() -> None:
    async with guarded("") as world:
        world.call("again", call_id="call-0001")
        await pause()
        put(world, ASKS)
        child, _ = await waiting(world, parent_call_id="call-0001")
        await pause(10)

        assert child.error.reason is Reason.APPROVAL_REQUIRED


@virtual
async def test_only_so_many_calls_of_a_namespace_wait() -> None:
    async with guarded() as world:
        callers = [world.call(call_id=f"call-{number:05}") for number in range(MOST_WAITING + 5)]
        await pause()

        assert sum(not caller.is_ended for caller in callers) == MOST_WAITING
        assert {caller.error.reason for caller in callers if caller.is_ended} == {Reason.NO_CAPACITY}


@virtual
async def test_what_cannot_be_written_does_not_wait() -> None:
    async with guarded() as world:
        world.approved.refusal = ParadeError(Reason.UNAVAILABLE, "the database is away")
        caller = world.call()
        await pause()

        assert caller.error.reason is Reason.UNAVAILABLE


@virtual
async def test_who_waits_outlasts_an_outage_of_the_database() -> None:
    async with guarded() as world:
        caller, approval = await waiting(world)
        world.approved.refusal = ParadeError(Reason.UNAVAILABLE, "the database is away")
        await pause(30)
        assert not caller.is_ended
        world.approved.refusal = None
        await resolve(world, approval)

        assert len(world.sent) == 1


@virtual
async def test_resolving_twice_alike_is_resolving_once() -> None:
    async with guarded() as world:
        _, approval = await waiting(world)
        await resolve(world, approval)
        await resolve(world, approval)
        with pytest.raises(ParadeError) as caught:
            await resolve(world, approval, ApprovalState.REJECTED)

        assert caught.value.reason is Reason.FAILED_PRECONDITION
        assert len(world.approved.records) == 1


@virtual
async def test_people_see_the_arguments_without_the_calls_secrets_and_not_more_than_they_read() -> None:
    async with guarded() as world:
        secret = "s3cret-of-the-shop"
        _, short = await waiting(world, "again", arguments=b'{"key":"s3cret-of-the-shop"}', secrets=(secret,))
        text = f'{{"pad":"{"x" * (SHOWN - 20)}","key":"{secret}"}}'.encode()
        _, long = await waiting(world, "again", arguments=text, secrets=(secret,))

        assert short.arguments == '{"key":"***"}'
        assert len(long.arguments) <= SHOWN
        assert "s3cret" not in long.arguments
        assert long.arguments_size == len(text)


@virtual
async def test_a_namespace_sees_its_own_approvals_alone() -> None:
    async with guarded() as world:
        _, approval = await waiting(world)
        with pytest.raises(ParadeError) as caught:
            await world.approvals.get("other", approval.id)

        assert caught.value.reason is Reason.NOT_FOUND


CASES: dict[str, Callable[[World], Caller]] = {
    "a step": lambda world: world.call("read", caller=SCHEDULER, step=Step("run-1", "pay")),
    "a stream": lambda world: world.call("rows", window=100),
    "an effect": lambda world: world.call("write"),
    "for a key": lambda world: world.call("read", principal="key:0123456789", caller=Identity.service("gateway")),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
@virtual
async def test_policies_hold_for_every_kind_of_call(case: Callable[[World], Caller]) -> None:
    async with guarded(FORBIDS) as world:
        assert case(world).error.reason is Reason.PERMISSION_DENIED
        assert world.ledger.written == {}


@virtual
async def test_a_started_call_that_is_forbidden_is_refused_and_one_that_needs_an_approval_has_the_time_for_it() -> None:
    async with guarded(FORBIDS) as world:
        request = world.call("read").job
        assert request is not None
        with pytest.raises(ParadeError) as caught:
            world.engine.check(request.request)
        assert caught.value.reason is Reason.PERMISSION_DENIED

        put(world, ASKS)
        assert world.engine.check(request.request)[1] == APPROVAL_LIFETIME.total_seconds()
        put(world, "")
        assert world.engine.check(request.request) == (FUNCTIONS["read"], 0.0)


def test_the_effects_that_policies_speak_of_are_those_of_functions() -> None:
    assert {effect.value.lower() for effect in Effect} == {"pure", "idempotent", "effect"}
