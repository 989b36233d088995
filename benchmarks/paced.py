"""An agent whose instances have a known capacity: each serves one call after the other, as fast as its process is told.

Calls end at times that are reckoned ahead, so that the capacity does not depend on how exactly the event loop keeps time.
"""

import asyncio
import os

import parade

VARIABLE = "PARADE_BENCH_SERVICE_TIME"
"""The environment variable that says how many seconds an instance serves a call."""

agent = parade.Agent("paced", max_concurrency=16)
_free_at = 0.0


@agent.function(effect="pure")
async def serve(text: str = "") -> str:
    """Returns its argument when the instance has served it."""
    global _free_at  # noqa: PLW0603  # the one thing that an instance is
    loop = asyncio.get_running_loop()
    _free_at = max(_free_at, loop.time()) + float(os.environ[VARIABLE])
    await asyncio.sleep(_free_at - loop.time())
    return text
