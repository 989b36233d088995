"""DBOS, run by an interpreter that has it: workflows of ten steps, a fan-out by its queue, workflows that sleep or start at a rate.

It is told the database's URL and takes orders, one a line: what to do and two numbers. A library and no service: client, engine and steps
are this one process.
"""

import asyncio
import contextlib
import json
import os
import random
import sqlite3
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from dbos import DBOS  # type: ignore[import-not-found]

STEPS = 10
PAYLOAD = "x" * 180
QUEUE = "fan"


@DBOS.step()  # type: ignore[untyped-decorator]  # known to that interpreter alone
async def nothing(text: str) -> str:
    """Returns its argument."""
    return text


@DBOS.workflow()  # type: ignore[untyped-decorator]  # as above
async def chain(text: str) -> str:
    """Takes its steps one after the other."""
    for _ in range(STEPS):
        text = await nothing(text)
    return text


@DBOS.workflow()  # type: ignore[untyped-decorator]  # as above
async def one(text: str) -> str:
    """Takes one step."""
    return await nothing(text)  # type: ignore[no-any-return]  # as above


@DBOS.workflow()  # type: ignore[untyped-decorator]  # as above
async def nap(until: float) -> float:
    """Sleeps until a time and returns by how much it is late."""
    await DBOS.sleep_async(until - time.time())
    return time.time() - until


@DBOS.workflow()  # type: ignore[untyped-decorator]  # as above
async def fan(count: int) -> int:
    """Enqueues so many workflows of one step and waits for all of them."""
    handles = [await DBOS.enqueue_workflow_async(QUEUE, one, PAYLOAD) for _ in range(count)]
    return len([await handle.get_result() for handle in handles])


async def closed(concurrency: int, count: int) -> dict[str, Any]:
    """Keeps so many workflows in flight until so many are done."""
    latencies: list[float] = []
    turns = iter(range(count))

    async def loop() -> None:
        for _ in turns:
            began = time.perf_counter()
            await chain(PAYLOAD)
            latencies.append(time.perf_counter() - began)

    started = time.perf_counter()
    await asyncio.gather(*(loop() for _ in range(concurrency)))
    return {"seconds": time.perf_counter() - started, "latencies": latencies}


async def fanned(count: int) -> dict[str, Any]:
    """Runs one fan-out."""
    started = time.perf_counter()
    await fan(count)
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "latencies": [seconds]}


async def arriving(rate: int, milliseconds: int) -> dict[str, Any]:
    """Starts workflows of one step at random times, whatever becomes of those before, and lets all of them end."""
    latencies: list[float] = []
    handles: list[Any] = []

    async def start(due: float) -> None:
        handles.append(await DBOS.start_workflow_async(one, PAYLOAD))
        latencies.append(time.perf_counter() - due)

    started = due = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        while due < started + milliseconds / 1000:
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            tasks.create_task(start(due))
            due += random.expovariate(rate)
    seconds = time.perf_counter() - started
    for handle in handles:
        await handle.get_result()
    return {"seconds": seconds, "latencies": latencies}


async def slept(count: int, milliseconds: int) -> dict[str, Any]:
    """Starts so many workflows that sleep for so long, each a little longer than the last: what they take, and how late they wake."""
    before = resident_mb()
    until = time.time() + milliseconds / 1000
    handles = [await DBOS.start_workflow_async(nap, until + 10 * number / count) for number in range(count)]
    started = time.time()
    after = resident_mb()
    late = [await handle.get_result() for handle in handles]
    return {"seconds": started, "latencies": late, "mb": after - before, "all_slept": started < until}


def resident_mb() -> float:
    """Returns the resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def sqlite_settings(path: str) -> str:
    """Puts an SQLite database into WAL mode, in which it stays, and returns what a connection to it then has: DBOS sets neither itself."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        (synchronous,) = connection.execute("PRAGMA synchronous").fetchone()
    return f"SQLite {sqlite3.sqlite_version} journal_mode={mode} synchronous={synchronous}"


async def main(url: str) -> None:
    """Starts DBOS and takes orders."""
    path = url.removeprefix("sqlite:///")
    settings = f"psycopg {version('psycopg')}" if path == url else sqlite_settings(path)
    system = url.replace("postgresql://", "postgresql+psycopg://")
    DBOS(config={"name": "bench", "system_database_url": system, "log_level": "ERROR", "use_listen_notify": True})
    DBOS.launch()
    await DBOS.register_queue_async(QUEUE)
    await chain(PAYLOAD)
    print(f"dbos {version('dbos')}, {settings}", flush=True)
    while order := await asyncio.to_thread(sys.stdin.readline):
        what, first, second = order.split()
        match what:
            case "chain":
                found = await closed(int(first), int(second))
            case "fan":
                found = await fanned(int(second))
            case "sleep":
                found = await slept(int(first), int(second))
            case _:
                found = await arriving(int(first), int(second))
        print(json.dumps(found), flush=True)
    DBOS.destroy()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
