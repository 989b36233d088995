"""AutoGen's distributed runtime, run by an interpreter that has it: a host, a worker with an echo agent and a worker that calls it.

Without a word it is the caller: it starts the others as processes of their own, prints its versions and then takes orders, one a line:
how many calls in flight, how many in all. Its transport has no TLS.
"""

import asyncio
import json
import socket
import sys
import time
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from autogen_core import AgentId, MessageContext, RoutedAgent, rpc, try_get_known_serializers_for_type  # type: ignore[import-not-found]
from autogen_ext.runtimes.grpc import GrpcWorkerAgentRuntime, GrpcWorkerAgentRuntimeHost  # type: ignore[import-not-found]

PAYLOAD = "x" * 180


@dataclass
class Echo:
    """What is sent and what comes back."""

    text: str


class EchoAgent(RoutedAgent):  # type: ignore[misc]  # known to that interpreter alone
    """Answers with what it was given."""

    def __init__(self) -> None:
        super().__init__("echo")

    @rpc  # type: ignore[untyped-decorator]  # as above
    async def echo(self, message: Echo, ctx: MessageContext) -> Echo:  # noqa: ARG002  # AutoGen's signature
        """Returns the message."""
        return message


async def host(address: str) -> None:
    """Runs the host."""
    server = GrpcWorkerAgentRuntimeHost(address=address)
    server.start()
    await asyncio.Event().wait()


async def worker(address: str) -> Any:
    """Returns a worker that has joined."""
    runtime = GrpcWorkerAgentRuntime(host_address=address)
    runtime.add_message_serializer(try_get_known_serializers_for_type(Echo))
    await runtime.start()
    return runtime


async def agent(address: str) -> None:
    """Runs the worker with the agent."""
    await EchoAgent.register(await worker(address), "echo", EchoAgent)
    await asyncio.Event().wait()


async def caller() -> None:
    """Runs the worker that calls."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    others = []
    try:
        for role in ("host", "agent"):
            others.append(await asyncio.create_subprocess_exec(sys.executable, "-P", __file__, role, address))
            await asyncio.sleep(2)
        runtime = await worker(address)
        target = AgentId("echo", "default")

        async def call() -> None:
            async with asyncio.timeout(20):
                await runtime.send_message(Echo(PAYLOAD), target)

        await call()
        print(", ".join(f"{name} {version(name)}" for name in ("autogen-core", "autogen-ext", "grpcio")), flush=True)
        while order := await asyncio.to_thread(sys.stdin.readline):
            concurrency, count = map(int, order.split())
            print(json.dumps(await closed(call, concurrency, count)), flush=True)
    finally:
        for process in others:
            process.kill()


async def closed(call: Any, concurrency: int, count: int) -> dict[str, Any]:
    """Keeps so many calls in flight until so many are done."""
    latencies: list[float] = []

    async def loop() -> None:
        for _ in range(count // concurrency):
            began = time.perf_counter()
            await call()
            latencies.append(time.perf_counter() - began)

    started = time.perf_counter()
    await asyncio.gather(*(loop() for _ in range(concurrency)))
    return {"seconds": time.perf_counter() - started, "latencies": latencies}


if __name__ == "__main__":
    if len(sys.argv) == 1:
        asyncio.run(caller())
    else:
        asyncio.run({"host": host, "agent": agent}[sys.argv[1]](sys.argv[2]))
