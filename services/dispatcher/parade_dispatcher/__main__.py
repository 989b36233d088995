"""The dispatcher's process: `python -m parade_dispatcher`."""

from random import SystemRandom

from parade.wire.channel import MAX_VALUE_BYTES
from parade_chassis.lifecycle import Process, run
from parade_chassis.server import running
from parade_dispatcher.choice import Choice
from parade_dispatcher.config import Config
from parade_dispatcher.connections import Connections
from parade_dispatcher.directory import Directory
from parade_dispatcher.engine import Engine
from parade_dispatcher.measurements import Measurements
from parade_dispatcher.schemas import Schemas
from parade_dispatcher.servicer import DispatcherServicer
from parade_dispatcher.watch import Watch


async def serve(process: Process[Config]) -> None:
    """Serves until the process is asked to end."""
    choice = Choice(process.clock, SystemRandom())
    connections = Connections(process.certificates, process.tasks)
    async with process.channel("agent_manager", process.config.agent_manager) as channel:
        directory = Directory(Watch(channel), process.clock, process.log, connections.forget)
        engine = Engine(directory, connections, choice, Schemas(MAX_VALUE_BYTES), process.ids, Measurements(process.telemetry.meter))
        process.background(directory.follow(), "agent watch")
        async with running(process, DispatcherServicer(engine)):
            await process.stopped()
        await connections.close()


if __name__ == "__main__":
    run("dispatcher", Config, serve)
