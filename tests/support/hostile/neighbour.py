"""A client that does no harm, as a program of its own: it calls, over the SDK and over REST, until it is told to stop, and counts.

It takes the mesh from the environment. An empty line on its input ends it; it then prints a JSON line: how many calls succeeded, and what
the others failed with.
"""

import asyncio
import json
import sys

import httpx

from parade.client import Mesh, connect
from parade.wire.errors import ParadeError
from parade.wire.mesh_file import MeshFile

PAUSE = 0.02
"""Seconds between calls: it is there all the time, and takes little of the machine."""


async def main() -> None:
    """Calls until it is told to stop."""
    file = MeshFile.find()
    succeeded, failures = 0, list[str]()
    told = asyncio.create_task(asyncio.to_thread(sys.stdin.readline))
    key = {"x-api-key": (file.folder / file.api_key).read_text().strip()}
    async with connect(file, traced=False) as mesh, httpx.AsyncClient(base_url=file.rest, headers=key, timeout=60) as client:
        print("ready", flush=True)  # noqa: T201  # its figures
        while not told.done():
            for ask in (_call, _list, _rest):
                try:
                    await ask(mesh, client)
                    succeeded += 1
                except (ParadeError, httpx.HTTPError, ValueError) as error:
                    failures.append(f"{ask.__name__}: {type(error).__name__}: {error}")
            await asyncio.sleep(PAUSE)
    print(json.dumps({"succeeded": succeeded, "failures": failures}), flush=True)  # noqa: T201  # its figures


async def _call(mesh: Mesh, client: httpx.AsyncClient) -> None:
    if await mesh.call("tested.echo", text="as ever", timeout=60) != "as ever":
        raise ValueError("the answer is another's")


async def _list(mesh: Mesh, client: httpx.AsyncClient) -> None:
    await mesh.agents()


async def _rest(mesh: Mesh, client: httpx.AsyncClient) -> None:
    response = await client.post("/v1/functions/tested.echo:call", json={"arguments": {"text": "as ever"}})
    if response.status_code != 200:
        raise ValueError(f"HTTP {response.status_code}")


if __name__ == "__main__":
    asyncio.run(main())
