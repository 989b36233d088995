"""Random durable functions, interrupted at random points: however they are played, they ask for the same and come to the same end.

One file runs every kind of wait in every nesting against a scheduler that ends things in any order, loses answers and forgets what is kept.
"""

import random
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

import parade
from parade.durable.definition import function_of
from parade.durable.turns import Turns
from parade.wire.errors import ParadeError
from parade.wire.log import Log

START = 1_790_000_000_000_000

Program = Any
"""`["call", n]`, `["sleep"]`, `["signal"]`, or one of `["seq" | "gather" | "race" | "try", [programs]]`."""

leaves: st.SearchStrategy[Program] = st.one_of(
    st.integers(0, 5).map(lambda number: ["call", number]), st.just(["sleep"]), st.just(["signal"]), st.just(["draw"])
)


def _nested(inner: st.SearchStrategy[Program]) -> st.SearchStrategy[Program]:
    return st.tuples(st.sampled_from(["seq", "gather", "race", "try"]), st.lists(inner, min_size=1, max_size=4)).map(list)


programs = st.recursive(leaves, _nested, max_leaves=12)


@parade.workflow
async def perform(ctx: parade.WorkflowContext, program: Any) -> Any:
    """Does what a program says, and keeps an account that all branches write into."""
    account: list[Any] = []

    async def do(part: Program) -> Any:
        value: Any = None
        match part:
            case ["call", number]:
                value = await ctx.call("a.b", number=number, before=len(account))
            case ["sleep"]:
                await ctx.sleep(5)
            case ["signal"]:
                value = await ctx.wait_signal("go", timeout=5)
            case ["draw"]:
                value = await ctx.call("a.draw", number=ctx.random().random(), id=str(ctx.uuid()), now=ctx.now().isoformat())
            case ["seq", parts]:
                value = [await do(part) for part in parts]
            case ["gather", parts]:
                value = await ctx.gather(*map(do, parts))
            case ["race", parts]:
                winner = await ctx.race(*map(do, parts))
                value = [winner.index, winner.value]
            case ["try", parts]:
                try:
                    value = [await do(part) for part in parts]
                except ParadeError as error:
                    value = await ctx.call("a.mend", why=error.message)
        account.append([part[0], value])
        return value

    value = await do(program)
    return [value, account]


class World:
    """A scheduler that ends things by chance, and two instances that it may ask."""

    def __init__(self, program: Program, seed: int, *, keeps: bool, loses: bool) -> None:
        self.chance = random.Random(seed)  # noqa: S311
        self.program = program
        self.journal: list[dict[str, Any]] = []
        self.asked: list[dict[str, Any]] = []
        self.seen = 0
        self.clock = START
        self.instances = [Turns(), Turns()]
        self.keeps = keeps
        self.loses = loses

    def answer(self, turns: Turns) -> dict[str, Any]:
        envelope = {"arguments": {"program": self.program}, "journal": self.journal, "seen": self.seen, "time": START}
        turn = turns.prepare(function_of(perform), "run-1", orjson.dumps(envelope), Log)
        try:
            answer: dict[str, Any] = orjson.loads(turns.take(turn))
        except ParadeError as error:
            return {"failed": str(error)}
        return answer

    def turn(self, disturbance: random.Random) -> dict[str, Any]:
        """Takes a turn, on an instance that may have forgotten, after some whose answers were lost."""
        if not self.keeps:
            return self.answer(Turns())
        lost = [self.answer(disturbance.choice(self.instances)) for _ in range(disturbance.randrange(3) if self.loses else 0)]
        if self.loses and disturbance.random() < 0.3:
            self.instances[disturbance.randrange(2)].close()
        answer = self.answer(disturbance.choice(self.instances) if self.loses else self.instances[0])
        assert all(other == answer for other in lost)
        return answer

    def run(self, disturbance: random.Random) -> dict[str, Any]:
        """Takes turns to the end."""
        while True:
            answer = self.turn(disturbance)
            if "asks" not in answer:
                return answer
            for ask in answer["asks"]:
                assert ask["index"] == len(self.journal) + 1
                self.asked.append(ask)
                self.journal.append({"kind": ask["kind"], "name": ask["name"], "digest": ask["digest"], "state": "OPEN"})
            for index in answer["cancels"]:
                assert self.journal[index - 1]["state"] == "OPEN"
                self.journal[index - 1]["state"] = "CANCELLED"
            self.seen = answer["seen"]
            waits = [entry for entry in self.journal if entry["state"] == "OPEN"]
            assert waits, "the function waits for nothing"
            for entry in self.chance.sample(waits, self.chance.randint(1, len(waits))):
                self.end(entry)

    def end(self, entry: dict[str, Any]) -> None:
        self.clock += self.chance.randint(1, 10_000_000)
        entry["ended"] = self.clock
        if entry["kind"] != "TIMER" and self.chance.random() < 0.25:
            entry["state"] = "FAILED"
            entry["failure"] = {"reason": "AGENT_ERROR", "message": f"broken at {self.clock}"}
        else:
            entry["state"] = "SUCCEEDED"
            entry["output"] = None if entry["kind"] == "TIMER" else self.clock


@given(programs, st.integers(0, 1 << 32), st.integers(0, 1 << 32))
def test_however_it_is_interrupted_it_asks_for_the_same_and_ends_alike(program: Program, seed: int, disturbance: int) -> None:
    kept = World(program, seed, keeps=True, loses=False)
    replayed = World(program, seed, keeps=False, loses=False)
    disturbed = World(program, seed, keeps=True, loses=True)

    ends = [world.run(random.Random(disturbance)) for world in (kept, replayed, disturbed)]  # noqa: S311

    assert ends[0] == ends[1] == ends[2]
    assert kept.asked == replayed.asked == disturbed.asked


@given(programs, st.integers(0, 1 << 32))
def test_a_run_that_has_ended_ends_alike_when_it_is_played_from_its_whole_journal(program: Program, seed: int) -> None:
    world = World(program, seed, keeps=True, loses=False)

    end = world.run(random.Random(seed))  # noqa: S311

    assert world.answer(Turns()) == end
