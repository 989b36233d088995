"""What is meant for a run that another replica leads: left for its owner in the database, and taken from there as the owner.

The owner deletes a command in the transaction that stores what followed, so that it happens once; who left it waits for that. PostgreSQL's
notifications only make it faster: an owner looks every second whether there is something.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Any, Final, get_args

import orjson
from sqlalchemy.exc import SQLAlchemyError

from parade.wire.errors import ParadeError, Reason
from parade.wire.log import Log
from parade_chassis.clock import Clock
from parade_chassis.ids import Ids
from parade_scheduler.decider import Occurrence, Started
from parade_scheduler.definitions.catalogue import Catalogue
from parade_scheduler.document import Document
from parade_scheduler.leading.happenings import ElsewhereError, Whole
from parade_scheduler.leading.journal import Journal
from parade_scheduler.model import Run, Step
from parade_scheduler.refusal import PASSING
from parade_scheduler.storage.records import Codec, Documents
from parade_scheduler.storage.store import Command, Store, shard_of

INTERVAL: Final = 1.0
"""Seconds between two looks whether there are commands."""
LIMIT: Final = 500
"""How many commands are taken at once."""
PATIENCE: Final = 30.0
"""Seconds that who left a command waits for its owner; it happens later all the same."""
_FIRST_LOOK: Final = 0.02
_LAST_LOOK: Final = 0.5
"""Seconds between two looks whether a command is settled: from this, twice as long each time, up to that."""


@dataclass(frozen=True, slots=True)
class Beginning:
    """A new run."""

    run: Run
    steps: tuple[Step, ...] = ()
    """Those that it takes over from an earlier run, as they ended."""


_CODECS: Final[dict[str, Codec[Any]]] = {kind.__name__: Codec(kind) for kind in (*get_args(Occurrence), Beginning)}


class Outbox:
    """Leaves commands for the owners of other shards."""

    def __init__(self, store: Store, clock: Clock, ids: Ids) -> None:
        """Takes where commands are left, the time, and what names them."""
        self._store = store
        self._clock = clock
        self._ids = ids

    async def happen(self, run: str, occurrence: Occurrence) -> None:
        """Lets something happen to a run, and returns once what followed is stored.

        Raises:
            ParadeError: UNAVAILABLE, where nobody has taken it so far.
        """
        await self._leave(self.command(run, occurrence))

    async def start(self, beginning: Beginning) -> None:
        """Starts a run, and returns once it is stored, or another that was started with the same request.

        Raises:
            ParadeError: UNAVAILABLE, where nobody has taken it so far.
        """
        await self._leave(self._command(beginning.run.id, Beginning.__name__, _encoded(beginning)))

    def command(self, run: str, occurrence: Occurrence) -> Command:
        """Returns the command that lets something happen to a run, for who leaves it in a transaction of their own."""
        return self._command(run, type(occurrence).__name__, _encoded(occurrence))

    def _command(self, run: str, kind: str, data: bytes) -> Command:
        return Command(self._ids.new("command"), shard_of(run), run, kind, data, self._clock.now())

    async def _leave(self, command: Command) -> None:
        await self._store.add_command(command)
        deadline, pause = self._clock.monotonic() + PATIENCE, _FIRST_LOOK
        while not await self._store.command_settled(command.id):
            if self._clock.monotonic() >= deadline:
                raise ParadeError(Reason.UNAVAILABLE, "the replica that leads this run does not answer; what was asked happens later")
            await self._clock.sleep(pause)
            pause = min(2 * pause, _LAST_LOOK)


class Inbox:
    """Takes the commands that others left for the runs of this replica."""

    def __init__(self, store: Store, journal: Journal, catalogue: Catalogue, clock: Clock, log: Log) -> None:
        """Takes where commands are left, who leads the runs, what they are runs of, the time and the log."""
        self._store = store
        self._journal = journal
        self._catalogue = catalogue
        self._clock = clock
        self._log = log
        self._hint = asyncio.Event()

    async def lead(self, shards: Callable[[], Collection[int]]) -> None:
        """Takes commands for as long as the process lives.

        Args:
            shards: Gives the shards of this replica.
        """
        while True:
            taken = 0
            try:
                taken = await self._take(shards())
            except ParadeError as error:
                self._log.warning("commands cannot be read", error=str(error))
            if not taken:
                await self._until_hint()

    def look(self) -> None:
        """Looks at once: this process has left a command."""
        self._hint.set()

    async def listen(self) -> None:
        """Hears PostgreSQL's notifications, for as long as the process lives."""
        while True:
            try:
                await self._store.hear(self._hint.set)
            except (SQLAlchemyError, OSError, ParadeError) as error:
                self._log.warning("notifications cannot be heard", error=repr(error))
            await self._clock.sleep(INTERVAL)

    async def _until_hint(self) -> None:
        try:
            async with asyncio.timeout(INTERVAL):
                await self._hint.wait()
        except TimeoutError:
            return
        self._hint.clear()

    async def _take(self, shards: Collection[int]) -> int:
        """Takes what there is, and returns how many have happened. What cannot happen now does not hold up what was left after it."""
        taken, after = 0, ""
        while shards:
            commands = await self._store.commands(shards, LIMIT, after)
            happened = await asyncio.gather(*(self._apply(command) for command in commands))
            done = [command.id for command, has_happened in zip(commands, happened, strict=True) if has_happened]
            # One after which nothing followed is still there, for nothing was written with which it would be gone.
            left = await self._store.unsettled(done) if done else []
            if left:
                await self._store.drop_commands(left)
            taken += len(done)
            if len(commands) < LIMIT:
                break
            after = commands[-1].id
        return taken

    async def _apply(self, command: Command) -> bool:
        """Lets a command happen; returns whether it has, or never can."""
        if command.kind not in _CODECS:
            return False  # a newer replica has left it, and one of those will take it
        try:
            await self._happen(command)
        except ElsewhereError:
            return False  # the next owner takes it
        except Exception as error:  # noqa: BLE001  # a fault of ours in one command must not end all others
            if isinstance(error, ParadeError) and error.reason in PASSING:
                return False
            self._log.error("command cannot be carried out", run=command.run, kind=command.kind, exception=error)
        return True

    def _happen(self, command: Command) -> Awaitable[Whole | None]:
        if command.kind == Beginning.__name__:
            return self._start(command)
        return self._journal.request(command.run, _decoded(command.kind, command.data), command.id)

    async def _start(self, command: Command) -> Whole | None:
        beginning: Beginning = _decoded(command.kind, command.data)
        definition = await self._catalogue.definition_of(beginning.run)
        return await self._journal.start(self._catalogue.execution(definition, beginning.run, beginning.steps), Started(), command.id)


def _encoded(value: Any) -> bytes:
    """Writes an occurrence or the beginning of a run: its facts and the sizes of its documents in a line, then the documents."""
    documents = Documents()
    facts = _CODECS[type(value).__name__].write(value, documents)
    line = orjson.dumps({"facts": facts, "sizes": [len(data) for data in documents.data]})
    return b"".join((line, b"\n", *documents.data))


def _decoded(kind: str, data: bytes) -> Any:
    line, _, rest = data.partition(b"\n")
    told = orjson.loads(line)
    starts = [0]
    for size in told["sizes"]:
        starts.append(starts[-1] + size)
    return _CODECS[kind].read(told["facts"], lambda place: Document(rest[starts[place] : starts[place + 1]]))
