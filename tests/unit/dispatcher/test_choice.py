"""Which instance gets a call."""

from collections import Counter
from random import Random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from parade_chassis.clock import ManualClock
from parade_dispatcher.choice import FIRST_PAUSE, LONGEST_PAUSE, Choice, Slot
from parade_dispatcher.model import Instance, InstanceState


def chance() -> Random:
    return Random(1)  # noqa: S311 - the same draws in every run


def instance(name: str, state: InstanceState = InstanceState.READY, max_concurrency: int = 2) -> Instance:
    return Instance(name, "default", "analyst", "127.0.0.1:1", f"{name}.test", state, max_concurrency)


def taken(choice: Choice, *instances: Instance, tried: frozenset[str] = frozenset()) -> Slot:
    slot = choice.take(instances, tried)
    assert slot is not None
    return slot


def test_ready_instances_come_before_degraded_ones() -> None:
    choice = Choice(ManualClock(), chance())
    ready, degraded = instance("a", max_concurrency=1), instance("b", InstanceState.DEGRADED)

    first, second = taken(choice, degraded, ready), taken(choice, degraded, ready)

    assert (first.instance.id, second.instance.id) == ("a", "b")


def test_no_other_state_takes_calls() -> None:
    choice = Choice(ManualClock(), chance())
    others = [instance(state.value, state) for state in InstanceState if state not in (InstanceState.READY, InstanceState.DEGRADED)]

    assert choice.take(others) is None


def test_of_two_instances_the_one_with_fewer_calls_is_taken() -> None:
    choice = Choice(ManualClock(), chance())
    instances = [instance("a", max_concurrency=100), instance("b", max_concurrency=100)]

    for _ in range(100):
        taken(choice, *instances)

    assert abs(choice.outstanding("a") - choice.outstanding("b")) <= 1


def test_calls_spread_over_many_instances() -> None:
    choice = Choice(ManualClock(), chance())
    instances = [instance(f"i{number}", max_concurrency=1000) for number in range(10)]

    counts = Counter(taken(choice, *instances).instance.id for _ in range(1000))

    assert max(counts.values()) - min(counts.values()) < 10


def test_what_was_tried_is_left_out() -> None:
    choice = Choice(ManualClock(), chance())

    assert taken(choice, instance("a"), instance("b"), tried=frozenset({"a"})).instance.id == "b"
    assert choice.take([instance("a")], {"a"}) is None


def test_a_place_given_back_twice_is_given_back_once() -> None:
    choice = Choice(ManualClock(), chance())
    first, _second = taken(choice, instance("a")), taken(choice, instance("a"))

    first.give_back()
    first.give_back()

    assert choice.outstanding("a") == 1


async def test_a_failed_instance_is_left_alone_then_tried_with_one_call() -> None:
    clock = ManualClock()
    choice = Choice(clock, chance())
    failed = instance("a")

    choice.set_aside("a")

    assert choice.take([failed]) is None
    assert choice.pause_left([failed]) == FIRST_PAUSE
    await clock.advance(FIRST_PAUSE)
    trial = taken(choice, failed)
    assert choice.take([failed]) is None, "one call is on trial"
    trial.give_back()
    choice.proved_healthy("a")
    taken(choice, failed)
    taken(choice, failed)


async def test_the_pause_grows_while_trials_fail_and_has_an_upper_bound() -> None:
    clock = ManualClock()
    choice = Choice(clock, chance())
    pauses = []
    for _ in range(10):
        choice.set_aside("a")
        choice.set_aside("a")  # another call that was under way fails with the first
        pauses.append(choice.pause_left([instance("a")]))
        await clock.advance(pauses[-1])

    assert pauses[:4] == [FIRST_PAUSE, FIRST_PAUSE * 2, FIRST_PAUSE * 4, FIRST_PAUSE * 8]
    assert pauses[-1] == LONGEST_PAUSE


class Outstanding(RuleBasedStateMachine):
    """Calls begin and end in any order; the counts stay true."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock()
        self.choice = Choice(self.clock, chance())
        self.instances = [instance(f"i{number}", max_concurrency=number + 1) for number in range(3)]
        self.slots: list[Slot] = []

    @rule(tried=st.frozensets(st.sampled_from(["i0", "i1", "i2"])))
    def begin(self, tried: frozenset[str]) -> None:
        slot = self.choice.take(self.instances, tried)
        if slot is not None:
            assert slot.instance.id not in tried
            self.slots.append(slot)

    @rule(which=st.integers(0, 100), outcome=st.sampled_from(["answered", "lost", "cancelled", "twice"]))
    def end(self, which: int, outcome: str) -> None:
        if not self.slots:
            return
        slot = self.slots.pop(which % len(self.slots))
        if outcome == "answered":
            self.choice.proved_healthy(slot.instance.id)
        if outcome == "lost":
            self.choice.set_aside(slot.instance.id)
        if outcome == "twice":
            slot.give_back()
        slot.give_back()

    @rule(seconds=st.floats(0, 40))
    def wait(self, seconds: float) -> None:
        self.clock._elapsed += seconds

    @invariant()
    def counts_are_true(self) -> None:
        held = Counter(slot.instance.id for slot in self.slots)
        for each in self.instances:
            assert self.choice.outstanding(each.id) == held[each.id]
            assert 0 <= held[each.id] <= each.max_concurrency

    def teardown(self) -> None:
        for slot in self.slots:
            slot.give_back()
        assert all(self.choice.outstanding(each.id) == 0 for each in self.instances)


Outstanding.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestOutstanding = Outstanding.TestCase
