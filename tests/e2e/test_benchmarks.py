"""What the benchmarks run: steps on either kind of database, calls with checks and without. How fast it is they measure themselves."""

import asyncio
import os
import subprocess
import sys

import pytest

from benchmarks import postgres
from benchmarks.grounds import Ground, Kind, ground
from benchmarks.load import closed
from benchmarks.mesh import ECHO, Bench, Plan, running
from benchmarks.security import UNSECURED
from benchmarks.steps import workflows_of
from parade.v1 import dispatcher_pb2, dispatcher_pb2_grpc
from parade.wire.errors import ParadeError, Reason
from parade.wire.identity import Identity
from parade.wire.mesh_file import MeshFile
from tests.integration.test_access import MeshAuthority


@pytest.mark.timeout(180)
@pytest.mark.parametrize("kind", [Kind.SQLITE, pytest.param(Kind.POSTGRESQL, marks=pytest.mark.full)])
def test_the_workflows_that_are_measured_end_well(kind: Kind) -> None:
    if kind is Kind.POSTGRESQL and postgres.missing():
        pytest.skip(postgres.missing())

    async def measured(stand: Ground) -> None:
        async with workflows_of(stand) as workflows:
            chains, fans, starts = [await closed(call, 2, 4) for call in (workflows.chain, workflows.fan, workflows.start)]
            await workflows.ended()
        assert [len(sample.latencies) for sample in (chains, fans, starts)] == [4, 4, 4]

    with running(Plan(runs=1, share=0.02), [ECHO]) as bench, ground(bench, kind, ["a rival"]) as stand:
        asyncio.run(measured(stand))


async def asked_by_a_stranger(bench: Bench) -> str:
    """Has a client call that has no role; returns what it was told."""
    mesh = MeshFile.read(bench.mesh_file)
    async with MeshAuthority(mesh).channel(mesh.services["dispatcher"], Identity.client("stranger"), "dispatcher") as channel:
        try:
            await dispatcher_pb2_grpc.DispatcherServiceStub(channel.for_stubs()).Call(dispatcher_pb2.CallRequest(function="echo.echo"))
        except ParadeError as error:
            return error.reason
    return "let in"


@pytest.mark.full
@pytest.mark.timeout(180)
def test_a_mesh_whose_checks_are_turned_off_checks_nothing() -> None:
    plan, told = Plan(runs=1, share=0.02), []
    for environment in ({}, UNSECURED):
        with running(plan, [ECHO], environment) as bench:
            told.append(asyncio.run(asked_by_a_stranger(bench)))

    assert told == [Reason.PERMISSION_DENIED, "let in"]


def test_what_turns_the_checks_off_finds_all_of_them() -> None:
    every = "import importlib, sitecustomize; [importlib.import_module(name) for name in sitecustomize.OFF]"

    subprocess.run([sys.executable, "-c", every], env={**os.environ, **UNSECURED}, check=True, timeout=50)
