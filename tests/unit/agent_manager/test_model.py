from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parade_agent_manager.model import MOVES, Heartbeat, Instance, InstanceState, moved, state_after
from tests.support.registrations import registration

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def instance(state: InstanceState, *, draining: bool = False) -> Instance:
    return Instance("i-1", "default", "cleaner", "i-1.cleaner", registration(), state, NOW, NOW, draining)


def test_an_instance_that_is_gone_never_comes_back() -> None:
    assert not MOVES[InstanceState.GONE]


def test_every_living_state_can_become_lost_and_gone() -> None:
    for state in set(InstanceState) - {InstanceState.GONE, InstanceState.LOST}:
        assert {InstanceState.LOST, InstanceState.GONE} <= MOVES[state]


def test_a_move_that_does_not_exist_is_refused() -> None:
    with pytest.raises(RuntimeError, match="cannot go from GONE to READY"):
        moved(instance(InstanceState.GONE), InstanceState.READY, NOW)


@given(
    state=st.sampled_from(sorted(set(InstanceState) - {InstanceState.GONE})),
    beats=st.lists(st.tuples(st.booleans(), st.booleans()), max_size=6),
)
def test_any_sequence_of_heartbeats_makes_only_allowed_moves_and_draining_stays(
    state: InstanceState, beats: list[tuple[bool, bool]]
) -> None:
    known = instance(state, draining=state is InstanceState.DRAINING)
    for degraded, draining in beats:
        heartbeat = Heartbeat(degraded=degraded, draining=draining)
        after = moved(known, state_after(known, heartbeat), NOW)
        told = known.draining or draining
        assert after.state is (InstanceState.DRAINING if told else InstanceState.DEGRADED if degraded else InstanceState.READY)
        known = Instance("i-1", "default", "cleaner", "i-1.cleaner", after.registration, after.state, NOW, NOW, told)
