"""The agent that fetches a table from a file or an address."""

import asyncio
from pathlib import Path

import parade
from data_processing import collecting, source
from data_processing.model.table import Collected

agent = parade.Agent("collector", version="1.0.0")


@agent.function(effect="idempotent", timeout=120)
async def collect(address: str, workspace: str, context: parade.Context) -> Collected:
    """Reads a CSV or JSON table from a path or a web address and stores it in the workspace.

    Raises:
        ValueError: There is no table there; the message says what to do.
        SourceUnavailableError: The address cannot be reached just now.
    """
    await context.progress(0.1, f"reading {source.title_of(address)}")
    content = await source.read(address)
    await context.progress(0.5, f"parsing {len(content):,} bytes")
    collected = await asyncio.to_thread(collecting.collect, content, address, Path(workspace))
    context.log.info("table collected", source=address, rows=collected.table.rows, columns=collected.table.columns)
    return collected
