"""An instance from its first line to its last: telemetry, server, registration, and a way out that breaks no call."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from parade.artifacts import Artifacts
from parade.calls import Caller
from parade.hosting.capacity import Capacity
from parade.hosting.enrolment import Enrolled, keep_renewed
from parade.hosting.executor import Executor
from parade.hosting.gate import Gate
from parade.hosting.host import Host
from parade.hosting.instance import Instance
from parade.hosting.mandates import Mandates
from parade.hosting.observer import Observer
from parade.hosting.offer import Offer
from parade.hosting.registration import Registration
from parade.hosting.server import listening
from parade.hosting.servicer import AgentServicer
from parade.hosting.settings import Settings
from parade.hosting.workers import Workers
from parade.v1 import agent_pb2
from parade.wire.deadlines import Deadlines
from parade.wire.identity import Identity
from parade.wire.log import Log
from parade.wire.mandate_verifier import Verifier
from parade.wire.mesh_file import MeshFile
from parade.wire.peers import Peers
from parade.wire.replicas import Replicas
from parade.wire.revocations import Revocations
from parade.wire.session.acceptor import Acceptor
from parade.wire.session.caller import SessionCaller
from parade.wire.session.limits import MAX_CALLS
from parade.wire.session.link import Link
from parade.wire.session.methods import DISPATCHER_SESSION
from parade.wire.telemetry import Collector, Telemetry


@asynccontextmanager
async def living(offer: Offer, enrolled: Enrolled, settings: Settings, find: Callable[[], MeshFile]) -> AsyncIterator[Instance]:
    """Runs an instance for a block; at its end the instance tells the mesh, lets its calls end, and leaves.

    Args:
        offer: What the agent's author offers.
        enrolled: The instance's identity.
        settings: What the process is told.
        find: Finds the mesh as it is now.

    Raises:
        OSError: The address cannot be listened on.
        EnrolmentOverError: The identity ended meanwhile; join again.
        RevokedError: The mesh wants the instance out.
        ParadeError: The mesh refuses what the agent offers.
    """
    identity = enrolled.identity
    with Telemetry(identity.name, identity.instance, identity.namespace, _collector(enrolled)) as telemetry:
        log = Log(telemetry, level=settings.log_level)
        async with AsyncExitStack() as stack:
            agent_manager = await stack.enter_async_context(enrolled.channel("agent_manager"))
            gateway = _gateway(enrolled, stack)
            artifacts = Artifacts(gateway)
            calls = Caller(SessionCaller(_link(enrolled, stack, log)), artifacts, telemetry)
            capacity = Capacity(offer.max_concurrency)
            peers = Peers(identity.domain, enrolled.source, Revocations())
            mandates = Mandates(Verifier(peers), identity)
            executor = _executor(offer, capacity, telemetry, log, calls, artifacts if gateway is not None else None, mandates)
            stack.push_async_callback(executor.close)
            acceptor = Acceptor(executor, max_calls=max(MAX_CALLS, 4 * offer.max_concurrency), log=log)
            gate = Gate(agent_pb2.DESCRIPTOR.services_by_name["AgentService"], peers, log)
            stack.callback(gate.close)
            servicer = AgentServicer(gate, executor, acceptor, offer.description(identity))
            port = await stack.enter_async_context(listening(servicer, enrolled.source, settings.listen))
            instance = Instance(identity.instance, identity.name, settings.address(port), identity.server_name, capacity)
            registration = Registration(
                agent_manager, offer.registration(instance.address), instance, lambda: enrolled.over(find), peers.revocations, log
            )
            log.info("serving", agent=offer.agent, instance=instance.id, address=instance.address, functions=",".join(offer.functions))
            async with _looping(instance, heartbeat=registration.keep(), renewal=keep_renewed(enrolled, agent_manager, log)):
                yield instance
                await _leave(instance, registration, acceptor, settings.drain_timeout, log)
    if instance.failure is not None:
        raise instance.failure


@asynccontextmanager
async def _looping(instance: Instance, **loops: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Runs loops beside the block. One that ends makes the instance leave; a task group would cancel the block and its calls."""
    tasks = [asyncio.create_task(loop, name=name) for name, loop in loops.items()]
    for task in tasks:
        task.add_done_callback(instance.loop_ended)
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def _leave(instance: Instance, registration: Registration, acceptor: Acceptor, timeout: float, log: Log) -> None:
    instance.leaving.set()
    if instance.failure is None:
        await registration.say_leaving()
    # Dispatchers are told to send no more; what was on its way already is refused, and goes to another instance.
    async with asyncio.TaskGroup() as tasks:
        drained = tasks.create_task(instance.capacity.drain(timeout))
        tasks.create_task(acceptor.drain(timeout))
    if not drained.result():
        log.warning("calls cut off", calls=instance.capacity.in_flight, waited=f"{timeout:.0f}s")
    if instance.failure is None:
        await registration.deregister()
        log.info("left", instance=instance.id, completed=instance.capacity.completed)


def _executor(
    offer: Offer, capacity: Capacity, telemetry: Telemetry, log: Log, calls: Caller, artifacts: Artifacts | None, mandates: Mandates
) -> Executor:
    observer = Observer(telemetry, log)
    workers = Workers(offer.agent, offer.functions, calls, log.level, telemetry)
    return Executor(offer.functions, Host(offer.agent, capacity, Deadlines(), observer, log, calls, artifacts, workers, mandates))


def _link(enrolled: Enrolled, stack: AsyncExitStack, log: Log) -> Link:
    """Returns the way to the dispatchers; it opens at the first call."""
    dispatchers = enrolled.replicas("dispatcher")
    stack.push_async_callback(dispatchers.close)
    link = Link(dispatchers.channels, DISPATCHER_SESSION, log=log)
    stack.push_async_callback(link.close)
    return link


def _gateway(enrolled: Enrolled, stack: AsyncExitStack) -> Replicas | None:
    """Returns the way to where artifacts lie; None in a mesh without a gateway."""
    if "gateway" not in enrolled.mesh.services:
        return None
    gateway = enrolled.replicas("gateway")
    stack.push_async_callback(gateway.close)
    return gateway


def _collector(enrolled: Enrolled) -> Collector | None:
    target = enrolled.mesh.services.get("monitor")
    if target is None:
        return None
    return Collector(target, Identity.service("monitor", enrolled.mesh.domain).server_name, enrolled.source)
