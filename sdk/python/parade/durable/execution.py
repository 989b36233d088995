"""One run of a durable function as it stands in this process: what it has asked for, what it waits for, how far it has come.

A new one is played from the function's first line with what the journal knows; one that is kept goes on where it waits. Ends are told one
by one in the order in which they came, and after each the function runs until all of it waits. So both are in the same place afterwards.
"""

import hashlib
import inspect
import random
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from parade import values
from parade.durable.ask import DIGEST_BYTES, Ask, Kind
from parade.durable.branch import Branch, Branches, Pending
from parade.durable.context import WorkflowContext
from parade.durable.errors import NondeterminismError
from parade.durable.journal import Envelope, Recorded, time_of
from parade.durable.no_loop import without_loop
from parade.function import Function
from parade.function_error import FunctionError
from parade.wire.log import Log

MAX_ASKS = 10_000


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a turn."""

    data: bytes
    """For the scheduler, as JSON."""
    over: bool
    """Whether the function has returned."""


class Execution:
    """One run of a durable function.

    Attributes:
        run_id: The run.
        time: When the last thing came that the function has seen: its clock.
        random: Chance that is the same in every replay.
        replaying: Whether the function does again what an earlier turn has done.
    """

    def __init__(self, function: Function, arguments: Mapping[str, Any], run_id: str, make_log: Callable[[], Log]) -> None:
        """Takes the function and its arguments by name; it begins with the first turn."""
        self.run_id = run_id
        self.random = random.Random(f"random {run_id}")  # noqa: S311  # it is to be foreseen
        self.replaying = False
        self.time = time_of(0)
        self.make_log = make_log
        self._ids = random.Random(f"uuid {run_id}")  # noqa: S311  # the same
        self._function = function
        self._arguments = arguments
        code = getattr(inspect.unwrap(function.handler), "__code__", None)
        self.branches = Branches("" if code is None else code.co_filename)
        self._main: Branch | None = None
        self._seen = 0
        self._digests: list[str] = []
        self._pending: dict[int, Pending[Any]] = {}
        self._digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
        self._envelope: Envelope | None = None
        self._asked: list[Ask] = []
        self._given_up: list[int] = []

    # ------------------------------------------------------------------------------------------------- what a turn does

    def fits(self, envelope: Envelope) -> bool:
        """Tells whether it stands where the journal does, so that it can go on from there."""
        # Where it has heard less, another instance was told the rest; where more, what it answered was lost, with what it gave up.
        if self._seen != envelope.seen:
            return False
        if envelope.digests is None:
            return envelope.count == len(self._digests) and envelope.digest == self._digest.hexdigest()
        return envelope.digests == self._digests

    def turn(self, envelope: Envelope) -> Answer:
        """Goes on with what has ended since, until the function waits for something else or returns.

        Raises:
            NondeterminismError: The code does not ask for what the journal says that it has.
            Exception: What the function raised.
        """
        self._envelope, self._asked, self._given_up = envelope, [], []
        with without_loop(self.branches.file, self._refuse):
            if self._main is None:
                self._begin(envelope)
            self._hear(envelope)
        main = self._main
        if main is None or len(self._digests) < envelope.count:
            raise self._unreached(envelope)
        if not main.over:
            if not self._pending:
                raise FunctionError(f"{self._function.name} waits, and nothing can come of it")
            asks = [ask.to_json() for ask in self._asked]
            return Answer(orjson.dumps({"asks": asks, "cancels": self._given_up, "seen": self._seen}), over=False)
        if main.error is not None:
            raise main.error
        return Answer(b'{"result":' + self._function.encode(main.value) + b"}", over=True)

    def close(self) -> None:
        """Throws the function away where it stands."""
        self.replaying = True
        with without_loop(self.branches.file, self._refuse):
            self.branches.close()

    def _begin(self, envelope: Envelope) -> None:
        self.time = time_of(envelope.time)
        self.replaying = envelope.count > 0
        arguments = {**self._arguments, self._function.signature.context: WorkflowContext(self)}
        self._main = Branch(self.branches, self._function.handler(**arguments))
        self.branches.run()

    def _hear(self, envelope: Envelope) -> None:
        """Tells the function what has ended, in the order in which it did."""
        for ended, index, entry in envelope.ends_after(self._seen):
            if index > len(self._digests):
                raise self._unreached(envelope)
            self._seen = ended
            pending = self._pending.pop(index, None)
            if pending is None or pending.done:
                continue
            self.time = time_of(ended)
            self.replaying = ended <= envelope.seen
            recorded = Recorded.read(entry)
            if recorded.failure is None:
                pending.end(recorded.output)
            else:
                pending.end(error=recorded.error())
            self.branches.run()
        self.replaying = False

    def _unreached(self, envelope: Envelope) -> NondeterminismError:
        main, index = self._main, len(self._digests) + 1
        now = "ends" if main is None or main.over else "waits for something else"
        recorded = Recorded.read(envelope.journal[index - 1])
        error = NondeterminismError(
            f"the code does not match the run: its request {index} was {recorded}, and now it {now} before it gets there. "
            "Let runs of the old code end under it, or start this one anew"
        )
        error.__cause__ = None if main is None else main.error
        return error

    def _refuse(self, error: Exception) -> None:
        self.branches.fault = error

    # ----------------------------------------------------------------------------------------- what the context asks of it

    def ask(self, kind: Kind, name: str, words: Mapping[str, Any]) -> Pending[Any]:
        """Asks for something; what the journal knows of it counts."""
        index = len(self._digests) + 1
        if index > MAX_ASKS:
            raise FunctionError(f"a run asks for at most {MAX_ASKS:,} things; let child runs do parts of it")
        if words.get("arguments") is not None:
            words = {**words, "arguments": orjson.loads(values.dumps(words["arguments"], "arguments"))}
        ask = Ask.of(index, kind, name, words)
        envelope = self._envelope
        is_new = envelope is None or index > envelope.count
        recorded = None if envelope is None or is_new else Recorded.read(envelope.journal[index - 1])
        if recorded is not None and not recorded.is_of(ask):
            other = ", with other arguments" if str(recorded) == str(ask) else ""
            error = NondeterminismError(
                f"the code does not match the run: its request {index} was {recorded}, and now it is {ask}{other}. "
                "Let runs of the old code end under it, or start this one anew"
            )
            self._refuse(error)
            raise error
        self._digests.append(ask.digest)
        self._digest.update(ask.digest.encode())
        if is_new:
            self._asked.append(ask)
        pending: Pending[Any] = Pending(lambda: self._give_up(index))
        self._pending[index] = pending
        return pending

    def new_id(self) -> uuid.UUID:
        """Returns an id that is the same in every replay."""
        return uuid.UUID(int=self._ids.getrandbits(128), version=4)

    def now(self) -> datetime:
        """Returns the function's time."""
        return self.time

    def _give_up(self, index: int) -> None:
        pending = self._pending.pop(index, None)
        if pending is None or pending.done:
            return
        if self._envelope is None or self._envelope.is_open(index):
            self._given_up.append(index)
