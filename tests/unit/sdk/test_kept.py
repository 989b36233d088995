"""Results that are kept for who lost them."""

from hypothesis import given
from hypothesis import strategies as st

from parade.hosting.kept import OVERHEAD, Kept
from parade.v1 import session_pb2


class Clock:
    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time


def result(data: bytes) -> session_pb2.SessionResult:
    made = session_pb2.SessionResult(number=7)
    made.result.data = data
    return made


def test_a_result_is_kept_for_its_time() -> None:
    clock = Clock()
    kept = Kept(clock, seconds=600)
    kept.put("a", result(b"1"))

    clock.time = 599
    found = kept.get("a")
    clock.time = 600

    assert found is not None
    assert found.result.data == b"1"
    assert (kept.get("a"), len(kept)) == (None, 0)


def test_what_is_taken_out_is_a_copy() -> None:
    kept = Kept(Clock())
    kept.put("a", result(b"1"))

    first, second = kept.get("a"), kept.get("a")
    assert first is not None
    first.number = 99

    assert second is not None
    assert second.number == 7


def test_a_result_too_large_to_keep_makes_no_other_give_way() -> None:
    kept = Kept(Clock(), size=2000)
    kept.put("a", result(b"1"))

    kept.put("b", result(b"x" * 5000))

    assert kept.get("a") is not None
    assert kept.get("b") is None


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 400)), max_size=60))
def test_the_oldest_give_way_and_the_bounds_hold(puts: list[tuple[int, int]]) -> None:
    count, size = 5, 5 * OVERHEAD
    kept = Kept(Clock(), count=count, size=size)
    order: list[str] = []
    for number, length in puts:
        call_id = f"call-{number}"
        kept.put(call_id, result(b"x" * length))
        order = [*(one for one in order if one != call_id), call_id]

        found = [one for one in order if kept.get(one) is not None]

        assert len(found) == len(kept) <= count
        assert sum((one.ByteSize() + OVERHEAD) for one in map(kept.get, found) if one is not None) <= size
        assert found == order[len(order) - len(found) :]
