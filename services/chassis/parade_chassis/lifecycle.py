"""A process from its first line to its last: signals first, logs and telemetry, the work under one task group, a graceful end.

Exit statuses: 0 after SIGTERM or SIGINT, 1 where something failed, 2 where the configuration is not usable.
"""

import asyncio
import gc
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, Generic, TypeVar

from parade.wire.certificates import FileSource
from parade.wire.channel import Channel
from parade.wire.identity import Identity
from parade.wire.log import Log, for_machines, for_people
from parade.wire.peers import Peers
from parade.wire.revocations import Revocations
from parade.wire.telemetry import Collector, Telemetry
from parade_chassis.clock import Clock, SystemClock
from parade_chassis.config import ServiceConfig
from parade_chassis.grants import Grants
from parade_chassis.ids import Ids
from parade_chassis.notify import notify
from parade_chassis.policies import Policies
from parade_chassis.standing import Standing

ConfigT = TypeVar("ConfigT", bound=ServiceConfig)
ResultT = TypeVar("ResultT")

TOLD_TIMEOUT: Final = 3.0
"""Seconds that a process that serves already waits to be told of roles, before it says that it is ready."""
YOUNG: Final = 10_000
"""How many more objects there must be before garbage is looked for: what requests under way are made of is not looked through then. With
Python's own 700 that takes a twelfth of a busy scheduler's time."""


class Process(Generic[ConfigT]):
    """What a service's parts are given: its configuration, certificates, clock, ids, log, telemetry and task group."""

    def __init__(
        self,
        service: str,
        config: ConfigT,
        telemetry: Telemetry,
        certificates: FileSource,
        tasks: asyncio.TaskGroup,
        stopping: asyncio.Event,
    ) -> None:
        """Takes the parts; made by `run`."""
        self.service = service
        self.config = config
        self.telemetry = telemetry
        self.certificates = certificates
        self.tasks = tasks
        self.clock: Clock = SystemClock()
        self.ids = Ids(self.clock)
        self.grants = Grants()
        """Which client may do what, as it is told."""
        self.policies = Policies()
        """What policies forbid, as it is told."""
        if config.log_format == "console":
            self.log = Log(telemetry, level=config.log_level, layout=for_people)
        else:
            self.log = Log(telemetry, level=config.log_level, layout=for_machines, bound={"service": service})
        self.revocations = Revocations()
        self.peers = Peers(config.domain, certificates, self.revocations, self._now)
        self.standing = Standing(self.grants, self.revocations, config.domain, self._now)
        """What whom something is done for may do, as it is told."""
        self._stopping = stopping
        self._loops: set[asyncio.Task[None]] = set()

    def channel(self, service: str, target: str) -> Channel:
        """Returns a channel to a service of the mesh, for example `("dispatcher", "127.0.0.1:7003")`; its user closes it."""
        return Channel(target, self.certificates, Identity.service(service, self.config.domain).server_name, peer=service)

    def background(self, loop: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Runs a loop for as long as the process lives. One that ends or fails stops the process: half a service is worse than none.

        Returns:
            The loop, for those who must see it end before the process does: they cancel it, and wait for it.
        """

        async def supervised() -> None:
            await loop
            raise RuntimeError(f"the {name} loop ended")

        task = self.tasks.create_task(supervised(), name=name)
        self._loops.add(task)
        return task

    def end_background(self) -> None:
        """Cancels the loops, at the end of the process."""
        for task in self._loops:
            task.cancel()

    async def stopped(self) -> None:
        """Says that the process is ready and waits for SIGTERM or SIGINT.

        It is ready once it knows who may do what, and also where nobody tells it for a while: agents and services are served without.
        """
        gc.freeze()  # what is there at the start stays, and need not be looked through again and again
        gc.set_threshold(YOUNG)
        await self._told()
        notify("READY=1")
        await self._stopping.wait()
        notify("STOPPING=1")

    def _now(self) -> float:
        return self.clock.now().timestamp()

    async def _told(self) -> None:
        waits = {self.tasks.create_task(self.grants.told.wait()), self.tasks.create_task(self._stopping.wait())}
        await asyncio.wait(waits, timeout=TOLD_TIMEOUT, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()

    async def unless_stopped(self, work: Coroutine[Any, Any, ResultT]) -> ResultT | None:
        """Does something that may take long before the process is ready, and gives it up at SIGTERM or SIGINT: then None."""
        doing = self.tasks.create_task(work)
        stopping = self.tasks.create_task(self._stopping.wait())
        await asyncio.wait({doing, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if doing.done():
            return doing.result()
        doing.cancel()
        return None

    def stop(self) -> None:
        """Asks the process to end as SIGTERM does."""
        self._stopping.set()


def run(
    service: str,
    config_type: type[ConfigT],
    serve: Callable[[Process[ConfigT]], Awaitable[None]],
    loop: Callable[[], asyncio.AbstractEventLoop] | None = None,
) -> None:
    """Runs a service until it is asked to end, then exits.

    Args:
        service: Its name, as in its certificate.
        config_type: What it is told.
        serve: Its work: returns once `Process.stopped()` has and everything is put away. Loops in the background are cancelled then.
        loop: Makes the event loop; asyncio's own where not given.
    """
    config = config_type.load()
    with asyncio.Runner(loop_factory=loop) as runner:
        status = runner.run(_run(service, config, serve))
    sys.exit(status)


async def _run(service: str, config: ConfigT, serve: Callable[[Process[ConfigT]], Awaitable[None]]) -> int:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    try:
        certificates = FileSource(config.trust_bundle, config.certificate, config.private_key)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"The certificates cannot be read: {error}\n")
        return 2
    collector = None
    if config.monitor:
        collector = Collector(config.monitor, Identity.service("monitor", config.domain).server_name, certificates)
    status = 0
    with Telemetry(service, config.instance_id, collector=collector) as telemetry:
        tasks = asyncio.TaskGroup()
        process = Process(service, config, telemetry, certificates, tasks, stopping)
        try:
            async with tasks:
                await serve(process)
                process.end_background()
        except* Exception as failures:  # noqa: BLE001  # the last place that can say why the process ends
            for failure in _leaves(failures):
                process.log.error("stopped by a failure", error=repr(failure), exception=failure)
            status = 1
        process.log.info("stopped", status=status)
    return status


def _leaves(group: BaseExceptionGroup[Exception]) -> list[Exception]:
    leaves: list[Exception] = []
    for error in group.exceptions:
        leaves.extend(_leaves(error) if isinstance(error, BaseExceptionGroup) else [error])
    return leaves
