"""A Ray actor, run by an interpreter that has Ray. It takes orders as `autogen_program` does."""

import asyncio
import json
import sys
import time
from importlib.metadata import version
from typing import Any

import ray  # type: ignore[import-not-found]

PAYLOAD = "x" * 180


class Echo:
    """Answers with what it was given."""

    async def echo(self, text: str) -> str:
        """Returns its argument."""
        return text


async def closed(actor: Any, concurrency: int, count: int) -> dict[str, Any]:
    """Keeps so many calls in flight until so many are done."""
    latencies: list[float] = []

    async def loop() -> None:
        for _ in range(count // concurrency):
            began = time.perf_counter()
            await actor.echo.remote(PAYLOAD)
            latencies.append(time.perf_counter() - began)

    started = time.perf_counter()
    await asyncio.gather(*(loop() for _ in range(concurrency)))
    return {"seconds": time.perf_counter() - started, "latencies": latencies}


async def main() -> None:
    """Starts Ray and takes orders."""
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
    actor = ray.remote(Echo).options(max_concurrency=256).remote()
    await actor.echo.remote(PAYLOAD)
    print(f"ray {version('ray')}", flush=True)
    while order := await asyncio.to_thread(sys.stdin.readline):
        concurrency, count = map(int, order.split())
        print(json.dumps(await closed(actor, concurrency, count)), flush=True)
    ray.shutdown()


if __name__ == "__main__":
    asyncio.run(main())
