"""Whatever happens, in any order: every call ends once, bounds hold, effects never run twice, and nothing is left behind."""

from collections import Counter
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from parade.wire.errors import Reason
from parade_dispatcher.budget import CAPACITY, SHARE
from parade_dispatcher.member import Standing
from parade_dispatcher.model import Call, Instance, InstanceState, RetryPolicy
from parade_dispatcher.ports import Receiver
from tests.support.virtual_time import in_virtual_time
from tests.unit.dispatcher.engine_world import FUNCTIONS, Caller, Sent, World, pause

NAMES = ["i0", "i1", "i2", "i3"]
NOT_RUN = [Reason.NO_CAPACITY, Reason.UNKNOWN_FUNCTION, Reason.INVALID_ARGUMENTS]

calls = st.tuples(
    st.just("call"),
    st.fixed_dictionaries(
        {"function": st.sampled_from(sorted(FUNCTIONS))},
        optional={
            "timeout": st.sampled_from([0.0, 0.03, 0.5, 3.0]),
            "priority": st.integers(-100, 100),
            "affinity_key": st.sampled_from(["alice", "bob"]),
            "labels": st.sampled_from([{"zone": "a"}, {"zone": "b"}, {"zone": "z"}]),
            "idempotency_key": st.sampled_from(["k1", "k2"]),
            "again": st.integers(0, 50),
        },
    ),
)
words = st.tuples(
    st.sampled_from(["answer", "answer", "bad", "item", "fail", "retryable", "not run", "lose", "lose unsent", "acknowledge", "cancelled"]),
    st.integers(0, 50),
)
events = st.one_of(
    calls,
    calls,
    words,
    words,
    st.tuples(st.sampled_from(["cancel", "leave"]), st.integers(0, 50)),
    st.tuples(
        st.just("state"), st.tuples(st.sampled_from(NAMES), st.sampled_from([*InstanceState, InstanceState.READY, InstanceState.READY]))
    ),
    st.tuples(st.just("time"), st.sampled_from([0.0, 0.03, 0.06, 0.6, 3.0])),
    st.tuples(st.just("write"), st.booleans()),
)


class Story:
    """Lets events happen and watches."""

    def __init__(self) -> None:
        self.world = World()
        self.world.pools.pool("default", "store")
        self.callers: list[Caller] = []
        self.left: set[Caller] = set()
        self.requests: list[dict[str, Any]] = []
        self.may_have_run: Counter[str] = Counter()
        self.keys: dict[str, str] = {}
        self.retried: Counter[str] = Counter()
        self._send = self.world.reach.send
        self.world.reach.send = self._watched  # type: ignore[method-assign]
        for number, name in enumerate(NAMES):
            self._put(name, InstanceState.READY, number)

    def _put(self, name: str, state: InstanceState, number: int | None = None) -> None:
        number = NAMES.index(name) if number is None else number
        functions = FUNCTIONS if number else {**FUNCTIONS, "more": FUNCTIONS["read"]}
        self.world.instance(name, state, max_concurrency=number + 1, functions=functions, labels={"zone": "ab"[number % 2]})

    def _watched(self, instance: Instance, call: Call, deadline: float, receiver: Receiver) -> Sent:
        member = self.world.pools.member(instance.id)
        assert member is not None
        if not call.attach:
            assert member.callable, member.instance.state
            assert member.standing is not Standing.EJECTED
            assert member.outstanding <= instance.max_concurrency
            assert deadline > self.world.loop.time()
            if call.id in self.keys:
                self.may_have_run[self.keys[call.id]] += 1
                assert self.may_have_run[self.keys[call.id]] <= 1, "an effect leaves twice"
        return self._send(instance, call, deadline, receiver)

    def not_run(self, sent: Sent) -> None:
        if sent.call.id in self.keys and not sent.call.attach:
            self.may_have_run[self.keys[sent.call.id]] -= 1

    def call(self, fields: dict[str, Any]) -> None:
        fields = dict(fields)
        again = fields.pop("again", None)
        if again is not None and self.requests:
            fields = {**self.requests[again % len(self.requests)], "redelivered": True}
        fields = {"call_id": f"call-{len(self.requests)}", "window": 10, **fields}
        self.requests.append({**fields, "redelivered": False})
        if fields["function"] in ("write", "log"):
            self.keys[fields["call_id"]] = f"{fields.get('idempotency_key') or fields['call_id']}"
        self.callers.append(self.world.call(fields.pop("function"), **fields))

    def happen(self, kind: str, what: Any) -> None:
        if kind == "call":
            self.call(what)
        elif kind == "state":
            self._put(*what)
        elif kind == "write":
            self.world.ledger.delay = 0.2 if what else 0.0
        elif kind in ("cancel", "leave"):
            if self.callers:
                caller = self.callers[what % len(self.callers)]
                assert caller.job is not None
                if kind == "leave":
                    self.left.add(caller)
                    caller.job.gone()
                else:
                    caller.job.cancel()
        else:
            running = [sent for sent in self.world.sent if not sent.is_over]
            if running:
                self.say(kind, running[what % len(running)], what)

    def say(self, kind: str, sent: Sent, number: int) -> None:
        streams = sent.call.function in ("rows", "log")
        match kind:
            case "answer":
                sent.answer(None if streams else b"1")
            case "bad":
                sent.answer(b"1" if streams else b"")
            case "item":
                sent.receiver.item(b"1")
            case "fail":
                sent.fail([Reason.AGENT_ERROR, Reason.DEADLINE_EXCEEDED, Reason.CANCELLED, Reason.INTERNAL][number % 4])
            case "retryable":
                self.retried[sent.call.id] += 1
                sent.fail(Reason.AGENT_ERROR, retryable=True)
            case "not run" if not sent.call.attach:
                self.not_run(sent)
                sent.fail(NOT_RUN[number % 3])
            case "lose":
                sent.lose()
            case "lose unsent" if not sent.call.attach:
                self.not_run(sent)
                sent.lose(sent=False)
            case "acknowledge":
                sent.receiver.cancelling("ACKNOWLEDGED")
            case "cancelled":
                sent.fail(Reason.CANCELLED, metadata={"cancellation": "STOPPED"})

    def check(self) -> None:
        pool = self.world.pools.pool("default", "store")
        assert pool is not None
        for member in pool.members.values():
            assert 0 <= member.outstanding == len(member.running)
        waiting = [caller.job for caller in self.callers if caller.job is not None and caller.job.queue is not None]
        assert pool.waiting == len(waiting)
        for job in waiting:
            labels = job.request.labels or {}
            if not job.request.affinity_key:
                free = [member.id for member in pool.members.values() if member.callable and member.outstanding < member.limit]
                suited = [name for name in free if pool.members[name].instance.labels.items() >= labels.items()]
                assert not set(suited) - (job.tried or set()), "an instance is free, and a call waits"

    def check_end(self) -> None:
        world = self.world
        for caller in self.callers:
            assert len(caller.outcomes) == 1 or (caller in self.left and not caller.outcomes)
        assert world.parts.jobs == {}
        assert world.parts.leaders == {}
        assert world.ledger.open == []
        pool = world.pools.pool("default", "store")
        assert pool is not None
        assert pool.waiting == 0
        for member in pool.members.values():
            assert (member.outstanding, member.running, member.asked) == (0, set(), set())


@settings(max_examples=150, deadline=None)
@given(happenings=st.one_of(st.lists(events, max_size=12), st.lists(events, min_size=25, max_size=80)))
def test_whatever_happens(happenings: list[tuple[str, Any]]) -> None:
    async def story() -> None:
        story = Story()
        for kind, what in happenings:
            if kind == "time":
                await pause(what)
            else:
                story.happen(kind, what)
                await pause()
            story.check()
        # What an instance has still to say after a cancellation it says; then there is only time.
        story.world.reach.behave = lambda sent: sent.fail(Reason.NOT_FOUND) if sent.call.attach else None
        for _ in range(3):
            for sent in list(story.world.sent):
                if sent.is_cancelled:
                    sent.fail(Reason.CANCELLED)
            await pause(12)
        for sent in list(story.world.sent):
            sent.lose()
        await pause(100)
        story.check_end()

    in_virtual_time(story)


@settings(max_examples=40, deadline=None)
@given(
    waiting=st.lists(st.tuples(st.integers(-3, 3), st.booleans(), st.sampled_from(["", "a"])), min_size=1, max_size=40),
    places=st.integers(1, 3),
)
def test_calls_that_wait_go_by_priority_then_by_arrival(waiting: list[tuple[int, bool, str]], places: int) -> None:
    async def story() -> None:
        world = World()
        world.instance("i1", max_concurrency=places, labels={"zone": "a"})
        for _ in range(places):
            world.call()
        callers = [world.call(priority=priority, labels={"zone": zone} if zone else None) for priority, _, zone in waiting]
        for caller, (_, leaves, _) in zip(callers, waiting, strict=True):
            if leaves:
                assert caller.job is not None
                caller.job.cancel()
        while running := world.with_instance("i1"):
            assert len(running) <= places
            running[0].answer()

        stay = [(-priority, number) for number, (priority, leaves, _) in enumerate(waiting) if not leaves]
        numbers = {caller.job.call_id: number for number, caller in enumerate(callers) if caller.job is not None}
        assert [numbers[sent.call.id] for sent in world.sent[places:]] == [number for _, number in sorted(stay)]

    in_virtual_time(story)


@settings(max_examples=20, deadline=None)
@given(outcomes=st.lists(st.booleans(), min_size=1, max_size=400))
def test_retries_never_leave_the_budget(outcomes: list[bool]) -> None:
    async def story() -> None:
        world = World()
        world.instance("i1", max_concurrency=10_000)
        attempts = RetryPolicy(max_attempts=4).max_attempts
        plan = iter(outcomes * attempts)
        world.reach.behave = lambda sent: sent.answer() if next(plan, False) else sent.fail(Reason.AGENT_ERROR, retryable=True)
        callers = []
        for number in range(len(outcomes)):
            callers.append(world.call("again"))
            await pause()
            assert len(world.sent) - (number + 1) <= CAPACITY + SHARE * (number + 1)
        await pause(30)

        assert all(caller.is_ended for caller in callers)
        assert len(world.sent) - len(outcomes) <= CAPACITY + SHARE * len(outcomes)

    in_virtual_time(story)
