"""Steps of durable workflows, through scheduler, dispatcher and agent, beside engines that are libraries: DBOS and LangGraph.

Each case runs on either kind of database. A result is stored before the next step begins, by everybody, so that a crash of the machine
loses nothing that was acknowledged.
"""

import asyncio
import statistics
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace

from benchmarks import postgres
from benchmarks.commits import counted
from benchmarks.grounds import Ground, Kind, ground
from benchmarks.load import Call, Sample, arriving, closed
from benchmarks.mesh import Bench
from benchmarks.result import Result, compared, judged
from benchmarks.rivals.program import DBOS, LANGGRAPH, Program, Rival
from benchmarks.turns import OURS, Contest, Run, take_turns
from parade.client import Mesh, connect
from parade.run import RunState
from parade.workflow_builder import Expression, Workflow

STEPS = 10
"""Steps of a workflow that is a chain."""
PAYLOAD = "x" * 180
"""What each of them is given and gives."""
FAN = 1000
RATE = 1000
"""Starts a second."""
PATIENCE = 120.0
"""Seconds that a run may take before it counts as failed."""
POLL = 1.0
NOBODY = "none: no rival is to be had here"


@dataclass(frozen=True, slots=True)
class Workflows:
    """What our runs are made of, each a workflow's start and the wait for its end."""

    mesh: Mesh
    chain: Call
    """Ten steps one after the other."""
    fan: Call
    """A task for each of so many items, then a step that needs all of them."""
    start: Call
    """The start alone, of a workflow of one step."""

    async def ended(self) -> None:
        """Waits until nothing goes on."""
        while await self.mesh.runs(states=[RunState.RUNNING], limit=1):  # noqa: ASYNC110  # it happens in other processes
            await asyncio.sleep(POLL)


@dataclass(frozen=True, slots=True)
class Match:
    """How a case is run, by us and by a rival."""

    ours: Callable[[Workflows], Run]
    theirs: Callable[[Program], Run]


def c64(bench: Bench, kind: Kind = Kind.SQLITE) -> Iterator[Result]:
    """64 workflows of ten steps at a time: steps a second."""
    yield from _chains(bench, "steps.c64", kind, "steps/s", concurrency=64, count=640, figure=lambda sample: STEPS * sample.rate)


def c1(bench: Bench, kind: Kind = Kind.SQLITE) -> Iterator[Result]:
    """One workflow of ten steps at a time: what one step takes, its share of the start and the end included."""
    yield from _chains(bench, "steps.c1", kind, "ms a step, p50", concurrency=1, count=200, figure=_median_step)


def fan1000(bench: Bench, kind: Kind = Kind.SQLITE) -> Iterator[Result]:
    """A fan-out of 1,000 and the join: seconds."""
    count = bench.plan.count(FAN)
    match = Match(
        lambda workflows: lambda share: closed(workflows.fan, 1, max(1, round(3 * share))),
        lambda program: program.ordered(lambda share: f"fan 1 {max(1, int(count * share))}"),
    )
    yield from _matches(bench, "steps.fan1000", kind, f"s, p50, {count} tasks", _median_seconds, match, (DBOS,))


def start(bench: Bench, kind: Kind = Kind.SQLITE) -> Iterator[Result]:
    """Poisson arrivals, 1,000 starts a second for 60 s: the latency that 99 of 100 kept below, and how many were answered at all.

    The rival gets the same arrivals for 2 s: more than it can take. Everybody ends what was started before the next has a turn.
    """
    seconds = bench.plan.seconds(60.0)

    def ours(workflows: Workflows) -> Run:
        async def run(share: float) -> Sample:
            sample = await arriving(workflows.start, RATE, seconds * share)
            await workflows.ended()
            return sample

        return run

    match = Match(ours, lambda program: program.ordered(lambda share: f"start {RATE} {int(2000 * share)}"))
    yield from _matches(bench, "steps.start", kind, "ms, p99", lambda sample: sample.percentile_ms(0.99), match, (DBOS,), answered=True)


def commits(bench: Bench, kind: Kind = Kind.SQLITE) -> Iterator[Result]:
    """64 workflows of ten steps at a time: commits of the database for one step."""
    case = named("steps.commits", kind)
    if _possible(case, kind):
        with ground(bench, kind, [DBOS.name, LANGGRAPH.name]) as stand:
            yield from asyncio.run(_commits(stand, case))


async def _commits(stand: Ground, case: str) -> list[Result]:
    count, runs, unit = stand.bench.plan.count(320), stand.bench.plan.runs, "commits a step"
    found: list[Result] = []
    async with workflows_of(stand) as workflows:

        async def alone(share: float) -> Sample:
            return await closed(workflows.chain, 64, max(64, int(count * share)))

        await alone(0.2)
        for rival in (DBOS, LANGGRAPH):
            async with rival.running(stand.rivals[rival.name]) as program:
                if program is None:
                    continue
                theirs_alone = program.ordered(_chain_order(64, count // 2))
                ours: list[float] = []
                theirs: list[float] = []
                for _ in range(runs):
                    ours.append(await _commits_of_a_step(stand.database, alone))
                    theirs.append(await _commits_of_a_step(stand.rivals[rival.name], theirs_alone))
                found.append(replace(compared(case, unit, ours, rival.name, theirs), rival_versions=program.versions))
        if not found:
            ours = [await _commits_of_a_step(stand.database, alone) for _ in range(runs)]
            found.append(Result(case, statistics.median(ours), unit, NOBODY, None, None, runs))
    return found


async def _commits_of_a_step(url: str, run: Run) -> float:
    async with counted(url) as found:
        sample = await run(1.0)
    if sample.failed:
        raise RuntimeError(f"{sample.failed} runs failed")
    return found.count / (STEPS * len(sample.latencies))


def _chains(
    bench: Bench, case: str, kind: Kind, unit: str, *, concurrency: int, count: int, figure: Callable[[Sample], float | None]
) -> Iterator[Result]:
    total = bench.plan.count(count)
    match = Match(
        lambda workflows: lambda share: closed(workflows.chain, concurrency, max(concurrency, int(total * share))),
        # They are slower, and as exact with fewer.
        lambda program: program.ordered(_chain_order(concurrency, total // 2)),
    )
    yield from _matches(bench, case, kind, unit, figure, match, (DBOS, LANGGRAPH))


def _chain_order(concurrency: int, count: int) -> Callable[[float], str]:
    return lambda share: f"chain {concurrency} {max(concurrency, int(count * share))}"


def _matches(
    bench: Bench,
    case: str,
    kind: Kind,
    unit: str,
    figure: Callable[[Sample], float | None],
    match: Match,
    rivals: Sequence[Rival],
    *,
    answered: bool = False,
) -> Iterator[Result]:
    """Compares with one rival after the other: what waits for its turn takes a little of the machine.

    Args:
        bench: The mesh.
        case: The case's name on SQLite.
        kind: The databases.
        unit: The figure's unit.
        figure: What is compared, made of one run.
        match: How everybody runs.
        rivals: Who they are.
        answered: Whether the unit is to say how many operations succeeded, which is no fault where they are many.
    """
    name = named(case, kind)
    if not _possible(name, kind):
        return
    with ground(bench, kind, [rival.name for rival in rivals]) as stand:
        alone = True
        for rival in (*rivals, None):
            if rival is None and not alone:
                return
            against = asyncio.run(_against(stand, rival, match))
            if against is not None:
                alone = False
                contest, who, versions = against
                found = judged(name, unit, figure, contest.ours, who, contest.samples.get(who, ()), versions)
                yield replace(found, unit=f"{unit}; {_answered(contest.ours)}") if answered else found


async def _against(stand: Ground, rival: Rival | None, match: Match) -> tuple[Contest, str, str] | None:
    """Returns the runs, the rival's name and versions; None where the rival cannot be had. Without a rival it measures us alone."""
    async with AsyncExitStack() as stack:
        workflows = await stack.enter_async_context(workflows_of(stand))
        contestants = {OURS: match.ours(workflows)}
        name, versions = NOBODY, ""
        if rival is not None:
            program = await stack.enter_async_context(rival.running(stand.rivals[rival.name]))
            if program is None:
                return None
            name, versions = rival.name, program.versions
            contestants[name] = match.theirs(program)
        return await take_turns(contestants, stand.bench.plan.runs, stand.processes), name, versions


@asynccontextmanager
async def workflows_of(stand: Ground) -> AsyncIterator[Workflows]:
    """Connects to a mesh and stores the workflows there."""
    count = stand.bench.plan.count(FAN)
    async with connect(stand.mesh, traced=False) as mesh:
        for workflow in (chain_workflow(), fan_workflow(), one_workflow()):
            await mesh.put_workflow(workflow)

        def whole(name: str, **inputs: object) -> Call:
            async def run() -> object:
                return await mesh.execute(name, inputs, timeout=PATIENCE)

            return run

        def begun() -> Awaitable[object]:
            return mesh.start("one", text=PAYLOAD)

        yield Workflows(mesh, whole("chain", text=PAYLOAD), whole("fan", items=list(range(count))), begun)


def chain_workflow() -> Workflow:
    """Ten steps, each of which takes what the last one gave."""
    flow = Workflow("chain", inputs={"text": {"type": "string"}})
    text = flow.inputs.text
    for number in range(STEPS):
        text = flow.step(f"step{number}", "echo.echo", {"text": text}).output
    flow.output("text", text)
    return flow


def fan_workflow() -> Workflow:
    """A task for each item, and a step that needs all of their results."""
    flow = Workflow("fan", inputs={"items": {"type": "array"}})
    fan = flow.step("fan", "echo.echo", {"text": PAYLOAD}, for_each=flow.inputs["items"], max_parallel=FAN)
    joined = flow.step("join", "echo.echo", {"text": Expression(f"string(size(steps.{fan.id}.output))")}, needs=[fan])
    flow.output("count", joined.output)
    return flow


def one_workflow() -> Workflow:
    """One step."""
    flow = Workflow("one", inputs={"text": {"type": "string"}})
    flow.output("text", flow.step("only", "echo.echo", {"text": flow.inputs.text}).output)
    return flow


def named(case: str, kind: Kind) -> str:
    """Returns a case's name on a kind of database."""
    return case if kind is Kind.SQLITE else f"{case}.{kind}"


def _possible(case: str, kind: Kind) -> bool:
    """Whether a kind of database is to be had here; says why not."""
    reason = postgres.missing() if kind is Kind.POSTGRESQL else ""
    if reason:
        sys.stderr.write(f"{case} skipped: {reason}\n")
    return not reason


def _answered(samples: Sequence[Sample]) -> str:
    succeeded = sum(len(sample.latencies) for sample in samples)
    return f"{succeeded} of {succeeded + sum(sample.failed for sample in samples)} answered"


def _median_step(sample: Sample) -> float | None:
    milliseconds = sample.percentile_ms(0.5)
    return None if milliseconds is None else milliseconds / STEPS


def _median_seconds(sample: Sample) -> float | None:
    milliseconds = sample.percentile_ms(0.5)
    return None if milliseconds is None else milliseconds / 1000
