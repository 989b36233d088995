"""Commands that others left: each happens once, and none holds up those behind it."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from parade_chassis.ids import Ids
from parade_scheduler.decider import CancelRequested
from parade_scheduler.leading import remote
from parade_scheduler.leading.remote import Inbox, Outbox
from parade_scheduler.model import RunState
from parade_scheduler.storage.commands import Command, leave_commands
from tests.support.waiting import eventually
from tests.unit.scheduler.leading import Led, leading

ALL = frozenset(range(64))


async def leave(led: Led, *commands: Command) -> None:
    async with led.database.transaction() as connection:
        await leave_commands(connection, commands)


async def state_of(led: Led, run: str) -> RunState:
    found = await led.store.run("default", run)
    assert found is not None
    return found.state


@pytest.mark.parametrize(("kind", "left"), [("Frozen", 11), ("CancelRequested", 0)])
async def test_commands_that_cannot_happen_hold_up_none_behind_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, left: int
) -> None:
    monkeypatch.setattr(remote, "LIMIT", 5)
    async with leading(tmp_path) as led:
        led.lead()
        await led.begin()
        cancel = Outbox(led.store, led.clock, Ids(led.clock)).command("run-0001-07", CancelRequested())
        # Of a kind that only a newer replica knows, or with facts that make no sense.
        unknown = [replace(cancel, id=f"command-000-{number:04}", kind=kind, data=b'{"sizes":7}\n') for number in range(11)]
        await leave(led, *unknown, replace(cancel, id="command-999"))
        inbox = Inbox(led.store, led.journal, led.catalogue, led.clock, led.log)
        taking = asyncio.create_task(inbox.lead(lambda: ALL))

        async def cancelled() -> bool:
            return await state_of(led, "run-0001-07") is RunState.CANCELLING

        await eventually(cancelled)

        await eventually_left(led, left)
        taking.cancel()
        await asyncio.wait([taking])


async def eventually_left(led: Led, count: int) -> None:
    async def are_left() -> bool:
        return len(await led.store.commands(ALL, 100)) == count

    await eventually(are_left)
