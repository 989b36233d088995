"""However much one namespace has to do, another's run begins and ends as if it were alone; and what matters more goes before what waits."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from statistics import median

import pytest

from parade.client import Mesh, connect
from parade.run import Run
from parade.wire.identity import Identity
from parade.wire.mesh_file import MeshFile
from tests.integration.test_access import MeshAuthority
from tests.support.mesh import agent_process, ready
from tests.support.roles import let_in

pytestmark = pytest.mark.timeout(400)

AGENT = "tests.support.working_agent:agent"
BUSY = 1.0
"""Seconds that every step of the busy namespace takes; its agent has 64 under way at once."""
DELAY = 1.0
"""Seconds by which nobody may be delayed."""
WORKFLOW = """
name: work
inputs:
  seconds: {type: number, default: 0}
steps:
  nap: {call: worker.nap, with: {seconds: "${{ inputs.seconds }}"}}
"""


def tenant(mesh: MeshFile, namespace: str, folder: Path) -> MeshFile:
    """Returns the mesh as somebody of another namespace is let into it."""
    client = Identity.client("dev", namespace)
    let_in(mesh, client)
    files = MeshAuthority(mesh).files(client)
    folder.mkdir()
    other = replace(
        mesh,
        folder=folder,
        namespace=namespace,
        trust_bundle=str(files.trust_bundle),
        certificate=str(files.certificate),
        private_key=str(files.private_key),
    )
    other.write()
    return other


class Tenants:
    """A client of a namespace that has much to do, and one of another that has not."""

    def __init__(self, busy: Mesh, calm: Mesh) -> None:
        self.busy = busy
        self.calm = calm
        self.begun = 0

    async def pile_up(self, runs: int) -> None:
        """Starts runs of the busy namespace, 64 at once."""
        left = iter(range(runs))

        async def start() -> None:
            for _ in left:
                await self.busy.start("work", seconds=BUSY)
                self.begun += 1

        async with asyncio.TaskGroup() as tasks:
            for _ in range(64):
                tasks.create_task(start())

    async def one(self) -> float:
        """Runs the calm namespace's workflow and returns how long it took."""
        began = time.monotonic()
        await (await self.calm.start("work")).result(timeout=60)
        return time.monotonic() - began


@pytest.fixture
async def tenants(own_mesh: MeshFile, tmp_path: Path) -> AsyncIterator[Tenants]:
    async with AsyncExitStack() as stack:
        clients = []
        for namespace in ("busy", "calm"):
            mesh = tenant(own_mesh, namespace, tmp_path / namespace)
            stack.enter_context(agent_process(mesh, AGENT))
            client = await stack.enter_async_context(connect(mesh))
            await ready(client, 1, "worker")
            await client.put_workflow(WORKFLOW)
            clients.append(client)
        yield Tenants(*clients)


@pytest.mark.parametrize("runs", [1_000, pytest.param(10_000, marks=pytest.mark.full)])
async def test_a_namespace_with_many_runs_does_not_delay_another_ones_single_run(tenants: Tenants, runs: int) -> None:
    alone = min([await tenants.one() for _ in range(5)])

    pile = asyncio.create_task(tenants.pile_up(runs))
    while_they_start = []
    while not pile.done():
        while_they_start.append(await tenants.one())
    await pile
    while_they_wait = [await tenants.one() for _ in range(10)]
    still_to_do = await tenants.busy.runs(workflow="work", limit=1_000)

    assert not all(run.HasField("end_time") for run in still_to_do), "nobody waited any more"
    # The starts keep this very process busy too, so that one of many may take longer for its sake.
    assert median(while_they_start) - alone < DELAY, while_they_start
    assert max(while_they_wait) - alone < DELAY, while_they_wait


async def test_what_matters_more_goes_before_what_waits_in_its_namespace(tenants: Tenants) -> None:
    await tenants.pile_up(1_000)

    began = time.monotonic()
    urgent: Run = await tenants.busy.start("work", priority=50, seconds=0)
    await urgent.wait(60)
    took = time.monotonic() - began
    newest = await tenants.busy.runs(workflow="work", limit=500)

    # One of those that work must end first.
    assert took < BUSY + DELAY
    assert sum(run.HasField("end_time") for run in newest) < len(newest) / 2, "nobody waited any more"
