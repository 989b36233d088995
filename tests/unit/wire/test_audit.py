"""Chains of audit entries: what is whole verifies, and whatever is not is found at its place."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from parade.wire.audit import Entry, Head, Kind, Verification, beginning, hash_of
from parade_chassis.audit import Record, chained, first_head

NOW = datetime(2026, 3, 4, 5, 6, 7, 891011, tzinfo=UTC)
RECORD = Record(Kind.CHANGE, "/parade.v1.SchedulerService/PauseRun", "spiffe://parade.local/ns/a/client/ana", "a", "runs/r", NOW, {"x": 1})
TEXTS = st.text(max_size=40)
RECORDS = st.builds(
    Record,
    st.sampled_from(Kind),
    TEXTS,
    TEXTS,
    TEXTS,
    TEXTS,
    st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001  # the zone is given
    st.dictionaries(TEXTS, st.one_of(TEXTS, st.integers(0, 2**53), st.booleans(), st.lists(TEXTS, max_size=3)), max_size=4),
)


def verified(entries: list[Entry], head: Head, *, log: str = "scheduler", checkpoint: tuple[Head, ...] = ()) -> list[tuple[int, int]]:
    """Returns the places of the faults."""
    verification = Verification(log, checkpoint)
    for entry in entries:
        verification.check(entry)
    return [(fault.chain, fault.sequence) for fault in verification.end({head.chain: head})]


def chain(count: int) -> tuple[list[Entry], Head]:
    return chained(first_head("scheduler", 0), [replace(RECORD, facts={"number": number}) for number in range(count)])


@given(st.lists(RECORDS, max_size=12), st.integers(0, 12))
def test_what_was_written_verifies_in_however_many_pieces(records: list[Record], cut: int) -> None:
    first, middle = chained(first_head("scheduler", 3), records[:cut])
    rest, head = chained(middle, records[cut:])

    assert verified([*first, *rest], head, checkpoint=(middle, head)) == []


@given(st.lists(RECORDS, min_size=1, max_size=6), st.data())
def test_an_entry_that_says_anything_else_is_found(records: list[Record], data: st.DataObject) -> None:
    entries, head = chained(first_head("scheduler", 0), records)
    place = data.draw(st.integers(0, len(entries) - 1))
    field = data.draw(st.sampled_from(Entry._fields[2:9]))
    value = getattr(entries[place], field)
    other = data.draw((st.integers(-(2**62), 2**62) if isinstance(value, int) else TEXTS).filter(lambda new: new != value))
    entries[place] = Entry._make(other if name == field else value for name, value in entries[place]._asdict().items())

    assert verified(entries, head) == [(0, place + 1)]


@given(TEXTS, TEXTS, st.integers(0, 40))
def test_no_character_can_move_from_one_text_to_the_next(left: str, right: str, cut: int) -> None:
    [entry], _ = chained(first_head("scheduler", 0), [RECORD])
    whole = left + right
    moved = entry._replace(action=whole[:cut], subject=whole[cut:])
    before = entry._replace(action=left, subject=right)

    assert (hash_of(moved) == hash_of(before)) == (moved == before)


def test_a_chain_of_another_log_or_number_is_none_of_this_one() -> None:
    entries, head = chain(3)

    assert verified(entries, head, log="dispatcher") == [(0, 1)]
    moved = [entry._replace(chain=1) for entry in entries]
    assert verified(moved, head._replace(chain=1)) == [(1, 1)]


def test_the_first_entry_that_is_missing_is_named() -> None:
    entries, head = chain(5)

    assert verified([*entries[:2], *entries[3:]], head) == [(0, 3)]
    assert verified(entries[1:], head) == [(0, 1)]
    assert verified(entries[:4], head) == [(0, 5)]
    assert verified([], head) == [(0, 1)]


def test_a_chain_cut_at_its_end_is_found_by_a_checkpoint_alone() -> None:
    entries, head = chain(5)
    cut, cut_head = chain(3)

    assert verified(cut, cut_head) == []
    assert verified(cut, cut_head, checkpoint=(head,)) == [(0, 4)]
    assert verified(entries, head, checkpoint=(cut_head,)) == []


def test_a_chain_written_anew_is_found_by_a_checkpoint_alone() -> None:
    entries, head = chain(5)
    others, others_head = chained(Head(0, 1, entries[0].time, entries[0].hash), [replace(RECORD, subject="somebody else")] * 4)
    anew = [entries[0], *others]

    assert verified(anew, others_head) == []
    assert verified(anew, others_head, checkpoint=(head,)) == [(0, 5)]


def test_a_whole_chain_that_is_gone_is_found_by_a_checkpoint_alone() -> None:
    _, head = chain(2)

    verification = Verification("scheduler", [head])
    assert [(fault.chain, fault.sequence) for fault in verification.end({})] == [(0, 1)]


def test_a_sealed_entry_is_checked_for_its_place_alone() -> None:
    entries, head = chain(3)
    verification = Verification("scheduler")
    for entry in entries:
        sealed = entry.sequence == 2
        verification.check(entry._replace(facts="", subject="") if sealed else entry, sealed=sealed)

    assert verification.end({0: head}) == []


def test_time_does_not_run_backwards_in_a_chain() -> None:
    entries, head = chained(first_head("scheduler", 0), [RECORD, replace(RECORD, time=NOW - timedelta(hours=1))])

    assert entries[0].time == entries[1].time == head.time


def test_texts_of_strangers_are_bounded_and_hold_no_nul() -> None:
    [entry], _ = chained(first_head("scheduler", 0), [replace(RECORD, resource="\x00" * 5000)])

    assert entry.resource == "\ufffd" * 1000
    assert entry.previous_hash == beginning("scheduler", 0)
