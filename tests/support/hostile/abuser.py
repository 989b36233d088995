"""Abuse as a program of its own, for who measures what it costs others: every port in turn, for as long as it is told.

Argument: the agent whose port is abused too. It takes the mesh from the environment and orders from its input, one a line: for how many
seconds. To each it answers by a JSON line: how many messages and connections it has sent. It gives way to everybody on the machine: its own
work would count as the mesh's fault.
"""

import asyncio
import itertools
import json
import os
import random
import sys
import time

from parade.client import connect
from parade.v1 import dispatcher_pb2, value_pb2
from parade.wire.identity import ANONYMOUS
from parade.wire.mesh_file import MeshFile
from tests.support.hostile import frames
from tests.support.hostile.messages import DATA, WORDS, mutated
from tests.support.hostile.ports import INTRUDER, NAMESPACE, Port, Ports
from tests.support.hostile.sending import Intruder

AT_ONCE = 8


async def main(agent: str) -> None:
    """Takes orders."""
    os.nice(19)
    file = MeshFile.find()
    async with connect(file, traced=False) as mesh:
        await mesh.grant_role(INTRUDER.uri, "admin", namespace=NAMESPACE)
        ports = Ports(file, (await mesh.agent(agent)).instances[0])
    print("ready", flush=True)  # noqa: T201  # its figures
    while order := await asyncio.to_thread(sys.stdin.readline):
        until = time.monotonic() + float(order)
        messages, connections = await asyncio.gather(_messages(ports, until), asyncio.to_thread(_connections, ports, until))
        print(json.dumps({"messages": messages, "connections": connections}), flush=True)  # noqa: T201  # its figures


async def _messages(ports: Ports, until: float) -> int:
    chance, sent = random.Random(0), 0  # noqa: S311
    intruders = [Intruder(ports, port) for port in ports.by_name.values()]
    for intruder in itertools.cycle(intruders):
        if time.monotonic() > until:
            break
        method = chance.choice([method for method in intruder.port.methods if not method.descriptor.server_streaming])
        call = dispatcher_pb2.CallRequest(function=chance.choice(WORDS), arguments=value_pb2.Value(data=chance.choice(DATA)))
        await intruder.send(method, [mutated(call.SerializeToString(), chance) for _ in range(AT_ONCE)])
        sent += AT_ONCE
    for intruder in intruders:
        await intruder.__aexit__(None, None, None)
    return sent


def _connections(ports: Ports, until: float) -> int:
    chance, abused = random.Random(0), 0  # noqa: S311
    for name, port in itertools.cycle(itertools.product(frames.ABUSES, ports.by_name.values())):
        if time.monotonic() > until:
            break
        _abuse(ports, port, name, chance)
        abused += 1
    return abused


def _abuse(ports: Ports, port: Port, name: str, chance: random.Random) -> None:
    caller = port.methods[0].caller
    certificates = None if caller == ANONYMOUS else ports.certificates(caller)
    with frames.shown(ports.trust_bundle, certificates) as context:
        frames.abuse(port, context, name, chance)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
