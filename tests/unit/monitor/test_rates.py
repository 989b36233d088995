"""A namespace has so many records taken in a second, and a burst; another one's are its own affair, and the services' own are free."""

from collections.abc import Sequence

import pytest

from parade_chassis.clock import ManualClock
from parade_chassis.quotas import Quotas
from parade_monitor import rates
from parade_monitor.model import Record, Source
from parade_monitor.rates import BURST, Rates, Rows
from tests.unit.monitor.records import log

RATE = 5
FULL = int(RATE * BURST)


def of(namespace: str, count: int) -> list[Record]:
    return [log(source=Source(namespace, "analyst", "a-1"), event=f"{number}") for number in range(count)]


class Bench:
    def __init__(self) -> None:
        self.clock = ManualClock()
        given = {"*": Rows(rows_per_second=RATE), "wide": Rows(rows_per_second=100 * RATE)}
        self.rates = Rates(Quotas("monitor", given, Rows()), self.clock)

    def kept(self, records: Sequence[Record]) -> int:
        return len(self.rates.admitted(records)[0])


async def test_a_burst_is_taken_and_then_so_many_a_second() -> None:
    bench = Bench()

    burst = bench.kept(of("team", 2 * FULL))
    empty = bench.kept(of("team", 1))
    await bench.clock.advance(2)
    later = bench.kept(of("team", FULL))
    await bench.clock.advance(10 * BURST)
    rested = bench.kept(of("team", 2 * FULL))

    assert (burst, empty, later, rested) == (FULL, 0, 2 * RATE, FULL)


async def test_each_namespace_has_its_own_room_and_services_need_none() -> None:
    bench = Bench()
    bench.kept(of("noisy", 10 * FULL))

    kept, refused = bench.rates.admitted([*of("noisy", 3), *of("quiet", 3), *of("", 3)])

    assert [record.source.namespace for record in kept] == ["quiet"] * 3 + [""] * 3
    assert dict(refused) == {f"more than {RATE} records a second of namespace noisy": 3}
    assert bench.kept(of("wide", 10 * FULL)) == 10 * FULL


async def test_namespaces_that_send_no_more_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "MOST_BUCKETS", 2)
    bench = Bench()
    for name in ("a", "b"):
        bench.kept(of(name, 1))
    await bench.clock.advance(BURST)
    bench.kept(of("c", FULL))

    assert bench.rates._buckets.keys() == {"c"}
    assert bench.kept(of("c", 1)) == 0
