"""LangGraph with a checkpointer, run by an interpreter that has it: graphs of ten nodes in a row.

It is told the database's URL and takes orders as `dbos_program` does, `chain` alone. A library and no service: client, engine and nodes are
this one process.
"""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any, TypedDict
from uuid import uuid4

from langgraph.graph import END, START, StateGraph  # type: ignore[import-not-found]

STEPS = 10
PAYLOAD = "x" * 180


class State(TypedDict):
    """What goes from node to node."""

    text: str


async def nothing(state: State) -> State:
    """Returns its argument."""
    return state


def chain(checkpointer: Any) -> Any:
    """Returns the graph."""
    graph = StateGraph(State)
    nodes = [f"node{number}" for number in range(STEPS)]
    for node in nodes:
        graph.add_node(node, nothing)
    for before, after in zip([START, *nodes], [*nodes, END], strict=True):
        graph.add_edge(before, after)
    return graph.compile(checkpointer=checkpointer)


@asynccontextmanager
async def checkpointing(url: str) -> AsyncIterator[tuple[Any, str]]:
    """Opens the checkpointer for the block, and says what it is made of."""
    path = url.removeprefix("sqlite:///")
    if path == url:
        from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver  # type: ignore[import-not-found]
        from psycopg.rows import dict_row  # type: ignore[import-not-found]
        from psycopg_pool import AsyncConnectionPool  # type: ignore[import-not-found]

        own = {"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row}
        async with AsyncConnectionPool(url, min_size=8, max_size=8, kwargs=own) as pool:
            saver = AsyncPostgresSaver(pool)
            await saver.setup()
            yield saver, f"langgraph-checkpoint-postgres {version('langgraph-checkpoint-postgres')}"
        return

    from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver  # type: ignore[import-not-found]

    async with AsyncSqliteSaver.from_conn_string(path) as saver:
        await saver.setup()
        settings = []
        for name in ("journal_mode", "synchronous"):
            async with saver.conn.execute(f"PRAGMA {name}") as cursor:
                settings.append(f"{name}={(await cursor.fetchone())[0]}")
        yield saver, f"langgraph-checkpoint-sqlite {version('langgraph-checkpoint-sqlite')} {' '.join(settings)}"


async def closed(graph: Any, concurrency: int, count: int) -> dict[str, Any]:
    """Keeps so many runs in flight until so many are done. Each step is stored before the next one begins."""
    latencies: list[float] = []
    turns = iter(range(count))

    async def loop() -> None:
        for _ in turns:
            began = time.perf_counter()
            await graph.ainvoke({"text": PAYLOAD}, {"configurable": {"thread_id": uuid4().hex}}, durability="sync")
            latencies.append(time.perf_counter() - began)

    started = time.perf_counter()
    await asyncio.gather(*(loop() for _ in range(concurrency)))
    return {"seconds": time.perf_counter() - started, "latencies": latencies}


async def main(url: str) -> None:
    """Compiles the graph and takes orders."""
    async with checkpointing(url) as (checkpointer, settings):
        graph = chain(checkpointer)
        await closed(graph, 1, 1)
        print(f"langgraph {version('langgraph')}, {settings}", flush=True)
        while order := await asyncio.to_thread(sys.stdin.readline):
            _chain, concurrency, count = order.split()
            print(json.dumps(await closed(graph, int(concurrency), int(count))), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
