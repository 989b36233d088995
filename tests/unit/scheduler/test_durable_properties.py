"""The two halves of durable functions together: code as agents run it, turns as the decider takes them, cut off wherever chance wants."""

import random
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

import parade
from parade.durable.definition import function_of
from parade.durable.journal import AGAIN
from parade.durable.turns import Turns
from parade.hosting.failures import failure_of
from parade.wire.errors import ParadeError, Reason
from parade.wire.log import Log
from parade_scheduler.decider import TaskFailed, TaskSucceeded
from parade_scheduler.decider.asks import Entries, envelope_of
from parade_scheduler.definitions.durables import definition_of
from parade_scheduler.document import Document
from parade_scheduler.model import Failure, Kind, RunState, TaskState
from tests.unit.scheduler.simulation import Simulation

Program = Any

leaves: st.SearchStrategy[Program] = st.sampled_from([["call"], ["sleep"], ["signal"], ["approve"], ["run"], ["draw"]])


def _nested(inner: st.SearchStrategy[Program]) -> st.SearchStrategy[Program]:
    return st.tuples(st.sampled_from(["seq", "gather", "race", "try"]), st.lists(inner, min_size=1, max_size=3)).map(list)


programs = st.recursive(leaves, _nested, max_leaves=8)


@parade.workflow
async def perform(ctx: parade.WorkflowContext, program: Any) -> Any:  # noqa: C901  # one case a kind of wait
    """Does what a program says, and keeps an account that all branches write into."""
    account: list[Any] = []

    async def do(part: Program) -> Any:
        value: Any = None
        match part:
            case ["call"]:
                value = await ctx.call("a.b", before=len(account))
            case ["sleep"]:
                await ctx.sleep(5)
            case ["signal"]:
                value = await ctx.wait_signal("go", timeout=7)
            case ["approve"]:
                value = (await ctx.wait_approval("Well?", timeout=9)).by
            case ["run"]:
                value = await ctx.run("report", before=len(account))
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
                    value = await ctx.call("a.mend", why=error.reason)
        account.append([part[0], value])
        return value

    value = await do(program)
    return [value, account]


class World(Simulation):
    """A run of a program, with two instances of its agent."""

    def __init__(self, program: Program, chance: random.Random) -> None:
        self.chance = chance
        self.instances = [Turns(), Turns()]
        super().__init__(definition_of("agent.perform"), {"program": program})

    def take_turn(self) -> None:
        """Takes the turn that is handed out, maybe after some whose answers are lost."""
        [key] = [key for key in self.out if key[1] == 0]
        arguments = self.out[key].arguments.data
        answers = [self._answer(arguments) for _ in range(self.chance.randint(1, 2))]
        others = [answer for answer in answers if answer != AGAIN]
        assert all(answer == others[0] or isinstance(answer, Failure) for answer in others)
        self._take_back(*key)
        if isinstance(answers[-1], Failure):
            assert answers[-1].metadata["exception_type"] == "ParadeError"
            self.tell(TaskFailed("main", 0, key[2], answers[-1]))
        else:
            self.tell(TaskSucceeded("main", 0, key[2], Document(answers[-1])))

    def _answer(self, arguments: bytes) -> bytes | Failure:
        if self.chance.random() < 0.2:
            self.instances[self.chance.randrange(2)].close()
        turns = self.chance.choice(self.instances)
        try:
            return turns.take(turns.prepare(function_of(perform), "run-1", arguments, Log))
        except ParadeError as error:
            return Failure.of(failure_of(error))

    def end_something(self) -> None:
        """Lets something come of what was asked for, or time pass."""
        asks = [key for key in (*self.out, *self.children) if key[1] > 0]
        approvals = [row.index for row in self.task_rows.values() if row.kind is Kind.APPROVAL and row.state is TaskState.WAITING]
        match self.chance.choice(
            ["call"] * 3 * bool(asks) + ["approval"] * bool(approvals) + ["signal"] * (self.execution.signals_waiting < 3) + ["time"]
        ):
            case "call":
                _, task, attempt = self.chance.choice(asks)
                if (("main", task, attempt)) in self.cancelled:
                    self.confirm_cancels()
                elif self.chance.random() < 0.3:
                    reason = self.chance.choice([Reason.AGENT_ERROR, Reason.UNAVAILABLE, Reason.OUTCOME_UNKNOWN])
                    self.fail("main", reason, task=task, attempt=attempt, retryable=False)
                else:
                    self.succeed("main", len(self.events), task=task, attempt=attempt)
            case "approval":
                self.resolve("main", approved=self.chance.random() < 0.7, task=self.chance.choice(approvals))
            case "signal":
                self.signal("go", len(self.events))
            case "time":
                self.advance(self.chance.choice([0.5, 3, 10]))

    def disturb(self) -> None:
        match self.chance.randrange(12):
            case 0:
                self.crash()
            case 1:
                self.pause()
                self.crash()
                self.resume()
                self.advance(0)

    def play(self) -> Any:
        """Goes on to the end of the run, and returns what the whole journal gives when it is played at once."""
        journal = b""
        for _ in range(2_000):
            if self.ends:
                break
            if any(key[1] == 0 for key in self.out):
                journal = envelope_of(self.run_row, self.execution.tasks["main"], Entries()).data
                self.take_turn()
            else:
                self.end_something()
            self.disturb()
        assert self.ends == 1, "the run does not end"
        turns = Turns()
        try:
            return orjson.loads(turns.take(turns.prepare(function_of(perform), "run-1", journal, Log)))["result"]
        except ParadeError as error:
            return failure_of(error).message


@given(programs, st.randoms(use_true_random=False))
def test_a_durable_function_comes_to_one_end_whatever_is_cut_off(program: Program, chance: random.Random) -> None:
    world = World(program, chance)

    end = world.play()

    assert world.state in (RunState.SUCCEEDED, RunState.FAILED)
    if world.state is RunState.SUCCEEDED:
        assert world.run_row.outputs is not None
        assert world.run_row.outputs.value == end
    else:
        assert world.failure().message == end
    assert all(row.state in (TaskState.SUCCEEDED, TaskState.FAILED, TaskState.CANCELLED) for row in world.task_rows.values() if row.step)
    made, held = world.from_rows(), world.execution
    assert (made.newest_end, made.active, made.running, made.size) == (held.newest_end, held.active, held.running, held.size)
