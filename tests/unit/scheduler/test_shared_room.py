"""Room that is shared: whoever fills their part leaves some for everybody else, and no more is taken than there is."""

from hypothesis import given
from hypothesis import strategies as st

from parade_scheduler.leading.shared_room import SharedRoom


def filled(room: SharedRoom, namespace: str, size: int) -> int:
    """Takes what a namespace gets, and returns how much that is."""
    count = 0
    while room.enter(namespace, size):
        count += 1
    return count


def test_whoever_comes_next_finds_room() -> None:
    room = SharedRoom()

    assert [filled(room, namespace, 1_000) for namespace in "abcd"] == [500, 250, 125, 63]


def test_what_is_given_back_can_be_taken_by_anybody() -> None:
    room = SharedRoom()
    for _ in range(filled(room, "a", 100)):
        room.leave("a")

    assert filled(room, "b", 100) == 50


def test_places_that_others_have_taken_count() -> None:
    room = SharedRoom()

    assert room.enter("a", 10, others=9)
    assert not room.enter("a", 10, others=9)
    assert not room.enter("b", 10, others=10)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans())), st.integers(1, 8))
def test_never_is_more_taken_than_there_is(asked: list[tuple[str, bool]], size: int) -> None:
    room, taken = SharedRoom(), dict.fromkeys("abc", 0)
    for namespace, enters in asked:
        if enters:
            taken[namespace] += room.enter(namespace, size)
        elif taken[namespace]:
            room.leave(namespace)
            taken[namespace] -= 1
        assert sum(taken.values()) <= size
