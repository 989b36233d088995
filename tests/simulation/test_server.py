"""The simulated server keeps the contract of the store, so that a schedule does not hold because it is kinder than a real one."""

import asyncio
import random

import pytest

from parade_scheduler.model import RunState
from parade_scheduler.storage.store import SHARD_COUNT, Change, LostError, Store
from tests.contract import test_scheduler_leases, test_scheduler_store
from tests.contract.scheduler_store import new, numbered
from tests.simulation.database import FILE, SETTLED, Server, SimulatedDatabase
from tests.simulation.store import SimulatedStore
from tests.simulation.time import Life

OF_REAL_ONES = {
    "test_one_of_two_that_start_a_run_for_a_request_at_once_is_told",
    "test_a_write_under_way_is_over_before_its_shard_is_anothers",
    "test_whether_a_change_was_written_is_answered_after_a_commit_that_is_under_way",
    "test_a_write_that_is_frozen_in_its_middle_holds_nobody_up_for_long",
    "test_a_command_is_announced",
}
"""What is asked of a real server by its driver."""

for module in (test_scheduler_store, test_scheduler_leases):
    globals().update({name: test for name, test in vars(module).items() if name.startswith("test_") and name not in OF_REAL_ONES})


@pytest.fixture
async def server() -> Server:
    return Server(random.Random(1), shared=True)  # noqa: S311  # hides nothing


@pytest.fixture
async def database(server: Server) -> SimulatedDatabase:
    return SimulatedDatabase(server, Life("a"))


@pytest.fixture
async def stores(server: Server, database: SimulatedDatabase) -> list[Store]:
    return [SimulatedStore(database), SimulatedStore(SimulatedDatabase(server, Life("b")))]


@pytest.fixture
def store(stores: list[Store]) -> Store:
    return stores[0]


@pytest.fixture
async def on_postgres() -> None:
    """What PostgreSQL has the simulated server has too."""


async def test_a_shard_with_a_write_under_way_is_passed_over(server: Server, stores: list[Store]) -> None:
    epochs = await stores[0].claim("a", "host:1", SHARD_COUNT, 0.0)
    server.lock({7: 1})
    await stores[0].claim("a", "host:1", SHARD_COUNT, 0.0)  # renewing waits for no write

    taken = await stores[1].claim("b", "host:2", SHARD_COUNT, 60.0)
    assert taken.keys() == epochs.keys() - {7}

    server.unlock({7: 1})
    assert (await stores[1].claim("b", "host:2", SHARD_COUNT, 60.0)).keys() == epochs.keys()


async def test_whether_a_change_was_written_is_answered_after_the_commit(server: Server, stores: list[Store]) -> None:
    epochs = await stores[0].claim("a", "host:1", SHARD_COUNT, 60.0)
    await stores[0].write([new(numbered(1))], epochs)
    server.lock({1: 1})
    asking = asyncio.create_task(stores[1].was_written(Change(numbered(1), 1)))
    done, _ = await asyncio.wait([asking], timeout=0.05)
    assert not done

    server.unlock({1: 1})
    assert await asking


async def test_nobody_else_writes_an_embedded_database_while_a_batch_is_written() -> None:
    server = Server(random.Random(1), shared=False)  # noqa: S311  # hides nothing
    store = SimulatedStore(SimulatedDatabase(server, Life("a")))
    await store.write([new(numbered(1))], None)
    server.lock(FILE)
    asking = asyncio.create_task(store.was_written(Change(numbered(1), 1)))
    done, _ = await asyncio.wait([asking], timeout=0.05)
    assert not done

    server.unlock(FILE)
    assert await asking


async def test_who_writes_what_is_another_replicas_is_found_out(
    server: Server, stores: list[Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    await stores[0].claim("a", "host:1", SHARD_COUNT, 0.0)
    await stores[1].claim("b", "host:2", SHARD_COUNT, 60.0)
    with pytest.raises(LostError):
        await stores[0].write([new(numbered(1))], {1: 1})
    monkeypatch.setattr(stores[0]._writer, "_fence", lambda epochs: None)

    await stores[0].write([new(numbered(1))], {1: 1})

    assert server.faults == ["a wrote run-001-01 though its shard is b's"]


async def test_who_writes_under_an_epoch_that_was_given_up_is_found_out(stores: list[Store], server: Server) -> None:
    epochs = await stores[0].claim("a", "host:1", SHARD_COUNT, 60.0)
    await stores[0].release("a", [1])
    await stores[0].write([new(numbered(2))], {2: epochs[2]})
    assert server.faults == []

    await stores[0].write([new(numbered(1))], {1: epochs[1]})

    assert "a writes to shard 1 under the epoch 1, which it has given up" in server.faults


async def test_who_takes_a_shard_from_one_that_lives_is_found_out_once_no_trouble_is_left(server: Server, stores: list[Store]) -> None:
    await stores[0].claim("a", "host:1", SHARD_COUNT, 0.0)
    await stores[1].claim("b", "host:2", 1, 0.0)
    assert server.faults == []

    server.calm_since = asyncio.get_running_loop().time() - SETTLED - 1
    await stores[0].claim("a", "host:1", SHARD_COUNT, 60.0)

    assert server.faults == ["a takes the shard 0 from b, which lives"]


async def test_more_runs_of_a_workflow_at_once_than_it_lets_are_found_out(server: Server, stores: list[Store]) -> None:
    server.limits = {"report": 1}
    epochs = await stores[0].claim("a", "host:1", SHARD_COUNT, 60.0)
    await stores[0].write([new(numbered(1)), new(numbered(2, state=RunState.QUEUED))], epochs)
    assert server.faults == []

    await stores[0].write([new(numbered(3))], epochs)

    assert server.faults == ["2 runs of report go on at once"]
