"""The agent that the benchmarks call: it answers at once with what it was given."""

from typing import Any

import parade

agent = parade.Agent("echo", max_concurrency=256)


@agent.function(effect="pure")
async def echo(text: str = "") -> Any:
    """Returns its argument."""
    return text
