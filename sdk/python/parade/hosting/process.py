"""An agent's process: joins, serves until it is told to stop, joins again where it must, and ends with a status that says how.

Exit statuses: 0 after SIGTERM, Ctrl-C or an order to leave; 1 where the mesh is not there, does not let the agent in, or has revoked it; 2
where the environment or the agent itself is not usable; 130 after a second Ctrl-C.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from parade.hosting.backoff import Backoff
from parade.hosting.enrolment import Enrolled, EnrolmentOverError, Joining, NotJoinedError, RevokedError
from parade.hosting.instance import Instance
from parade.hosting.life import living
from parade.hosting.offer import Offer
from parade.hosting.settings import Settings, SettingsError
from parade.wire.errors import ParadeError
from parade.wire.log import Log
from parade.wire.mesh_file import MeshFile

JOIN_PATIENCE = 30.0
"""Seconds that a starting agent waits for its mesh."""

ResultT = TypeVar("ResultT")


def run(offer: Offer) -> int:
    """Runs an instance until it is told to stop, and returns the process's exit status."""
    try:
        settings = Settings.from_environment()
    except SettingsError as error:
        return _explained(str(error), 2)
    return asyncio.run(_serve(offer, settings))


async def _serve(offer: Offer, settings: Settings) -> int:
    stopping = _stopped_by_signals()
    log = Log(level=settings.log_level)
    patience: float | None = JOIN_PATIENCE
    backoff = Backoff()
    while True:
        try:
            joining = Joining(offer.agent, settings, MeshFile.find, log)
            enrolled = await _unless(stopping, joining.join(patience))
            if enrolled is None:
                return 0
            cut_off = await _serve_as(enrolled, offer, settings, stopping)
        except EnrolmentOverError as over:
            log.warning("joining again as another instance", why=str(over))
            patience = None  # an agent that served once waits for its mesh for ever
            await _unless(stopping, asyncio.sleep(backoff.pause()))
            continue
        except (NotJoinedError, RevokedError, ParadeError, OSError) as error:
            return _explained(f"{offer.agent}: {error}", 1)
        if cut_off:
            _exit_now(0)  # a thread that runs on would hold up the interpreter's end for ever
        return 0


async def _serve_as(enrolled: Enrolled, offer: Offer, settings: Settings, stopping: asyncio.Event) -> bool:
    """Serves until it is time to go; returns whether calls still run."""
    instance: Instance
    async with living(offer, enrolled, settings, MeshFile.find) as instance:
        await _unless(stopping, instance.leaving.wait())
    return instance.capacity.in_flight > 0


def _stopped_by_signals() -> asyncio.Event:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()

    def interrupted() -> None:
        if stopping.is_set():
            _exit_now(130)
        stopping.set()

    loop.add_signal_handler(signal.SIGTERM, stopping.set)
    loop.add_signal_handler(signal.SIGINT, interrupted)
    return stopping


async def _unless(stopping: asyncio.Event, work: Coroutine[Any, Any, ResultT]) -> ResultT | None:
    """Returns what `work` does, or None where the process is told to stop before."""
    working = asyncio.create_task(work)
    stopped = asyncio.create_task(stopping.wait())
    try:
        await asyncio.wait([working, stopped], return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        stopped.cancel()
        if not working.done():
            working.cancel()
            with suppress(asyncio.CancelledError):
                await working


def _explained(text: str, status: int) -> int:
    sys.stderr.write(f"{text}\n")
    return status


def _exit_now(status: int) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
