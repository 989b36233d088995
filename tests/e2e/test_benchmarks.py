"""What the benchmarks of steps run, on either kind of database. How fast it is they measure themselves."""

import asyncio

import pytest

from benchmarks import postgres
from benchmarks.grounds import Ground, Kind, ground
from benchmarks.load import closed
from benchmarks.mesh import ECHO, Plan, running
from benchmarks.steps import workflows_of


@pytest.mark.timeout(180)
@pytest.mark.parametrize("kind", list(Kind))
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
