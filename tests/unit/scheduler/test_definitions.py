"""Definitions that were used lately are kept, not beyond what they may weigh, and each is read once however many want it."""

import asyncio

import pytest

from parade.wire.errors import ParadeError
from parade_scheduler.definitions import definitions as module
from parade_scheduler.definitions.definitions import WEIGHT, Definitions
from parade_scheduler.definitions.weighed_cache import WeighedCache
from parade_scheduler.language import Definition, read
from parade_scheduler.model import Workflow
from tests.unit.scheduler.leading import FLOW
from tests.unit.scheduler.simulation import START


def workflow(version: int, source: str = FLOW) -> Workflow:
    return Workflow("default", "flow", version, "", "", source, START)


def test_what_was_not_used_for_longest_goes_where_all_weighs_too_much() -> None:
    cache: WeighedCache[str, int] = WeighedCache(10)
    cache.put("a", 1, 4)
    cache.put("b", 2, 4)
    assert cache.get("a") == 1

    cache.put("c", 3, 4)
    assert (cache.get("a"), cache.get("b"), cache.get("c")) == (1, None, 3)
    cache.put("c", 4, 6)
    assert (cache.get("a"), cache.get("c")) == (1, 4)
    cache.put("d", 5, 11)
    assert len(cache) == 0
    cache.put("e", 6, 10)
    assert cache.get("e") == 6


async def test_large_definitions_push_others_out(monkeypatch: pytest.MonkeyPatch) -> None:
    large = f"description: {'x' * 3_000}\n{FLOW}"
    monkeypatch.setattr(module, "MAX_WEIGHT", 3 * WEIGHT + len(large))
    definitions = Definitions()
    await definitions.of(workflow(1))
    await definitions.of(workflow(2))
    assert definitions.known("default", "flow", 1) is not None

    await definitions.of(workflow(3, large))
    await definitions.of(workflow(4))

    assert [definitions.known("default", "flow", version) is not None for version in (1, 2, 3, 4)] == [False, False, True, True]


async def test_a_definition_that_many_want_at_once_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    sources: list[str] = []

    def counted(source: str) -> Definition:
        sources.append(source)
        return read(source)

    monkeypatch.setattr(module, "read", counted)
    definitions = Definitions()
    wanting = [asyncio.create_task(definitions.of(workflow(1))) for _ in range(20)]
    await asyncio.sleep(0)
    wanting[0].cancel()

    found = await asyncio.gather(*wanting[1:])

    assert all(one is found[0] for one in found)
    assert sources == [FLOW]


async def test_everybody_who_wants_a_definition_that_cannot_be_read_is_told() -> None:
    definitions = Definitions()

    told = await asyncio.gather(*(definitions.of(workflow(1, "name: flow")) for _ in range(3)), return_exceptions=True)

    assert all(isinstance(error, ParadeError) for error in told)
    assert (await definitions.of(workflow(1))).name == "flow"
