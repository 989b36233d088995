"""What the calls of one instance share: its loop and clock, its places, its threads, and who hears of them."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Protocol

from parade.artifact import Artifact, Content
from parade.context import Calls
from parade.hosting.capacity import Capacity
from parade.hosting.kept import Kept
from parade.hosting.turn import Turn
from parade.v1 import call_pb2, session_pb2, value_pb2
from parade.wire.call_span import CallSpan
from parade.wire.channel import MAX_VALUE_BYTES
from parade.wire.deadlines import Expiring
from parade.wire.errors import ParadeError
from parade.wire.log import Log

if TYPE_CHECKING:
    from parade.hosting.work import Work
    from parade.hosting.workers import Workers

MAX_INLINE_BYTES = 1024 * 1024
"""The largest value that travels as itself; what is larger is made an artifact where that is possible."""
MAX_STEP_BYTES = MAX_VALUE_BYTES
"""As much of a step of a run: what its result says is read by the steps after it, from the run's own record."""


class Deadlines(Protocol):
    """Many deadlines; `parade.wire.deadlines.Deadlines` is one."""

    def add(self, when: float, item: Expiring) -> None:
        """Has `item.expired` called at `when`."""
        ...

    def remove(self, when: float, item: Expiring) -> None:
        """Forgets an item; `when` is what it was added with."""
        ...


class Artifacts(Protocol):
    """Values that are too large to travel as themselves; `parade.artifacts` has one."""

    async def resolve(self, value: value_pb2.Value) -> bytes:
        """Returns what an artifact holds."""
        ...

    async def shrink(self, data: bytes) -> value_pb2.Value:
        """Makes an artifact of a value."""
        ...

    async def put(self, content: Content, media_type: str) -> Artifact:
        """Stores bytes."""
        ...


class Mandates(Protocol):
    """Whether calls may be run; `parade.hosting.mandates.Mandates` is one."""

    def check(self, origin: call_pb2.CallOrigin) -> None:
        """Lets a call pass whose mandate is believed; raises PERMISSION_DENIED otherwise."""
        ...


class Observer(Protocol):
    """Who hears how calls go; `parade.hosting.observer.Observer` is one."""

    def begin(self, name: str, effect: str, call: session_pb2.SessionCall) -> CallSpan | None:
        """Opens a call's span; None where nobody records its trace."""
        ...

    def succeeded(self, name: str, seconds: float) -> None:
        """Takes note of a call that ended well and has no span."""
        ...

    def end(
        self, name: str, call: session_pb2.SessionCall, seconds: float, error: ParadeError | None, span: CallSpan | None, *, told: bool
    ) -> None:
        """Takes note of how a call ended, and closes its span. `told`: the log has it already."""
        ...


class Host:
    """What the calls of one instance share."""

    __slots__ = (
        "agent",
        "artifacts",
        "calls",
        "capacity",
        "deadlines",
        "effects",
        "kept",
        "log",
        "loop",
        "mandates",
        "now",
        "observer",
        "running",
        "thread",
        "threads",
        "turn",
        "workers",
    )

    def __init__(
        self,
        agent: str,
        capacity: Capacity,
        deadlines: Deadlines,
        observer: Observer,
        log: Log,
        calls: Calls | None = None,
        artifacts: Artifacts | None = None,
        workers: "Workers | None" = None,
        mandates: Mandates | None = None,
    ) -> None:
        """Takes what the calls share; made in the event loop that they run in.

        Args:
            agent: The agent's name.
            capacity: How many calls may run.
            deadlines: When calls must have ended.
            observer: Who hears how they go.
            log: The instance's log.
            calls: How functions call other functions.
            artifacts: Where values lie that are too large to travel as themselves; None where they cannot be sent.
            workers: The processes for functions that want one; None where there are none.
            mandates: Believes what comes with calls; None in a worker process, to which its agent gives calls that it has checked.
        """
        self.agent = agent
        self.capacity = capacity
        self.deadlines = deadlines
        self.observer = observer
        self.log = log
        self.calls = calls
        self.artifacts = artifacts
        self.workers = workers
        self.mandates = mandates
        self.loop = asyncio.get_running_loop()
        self.now: Callable[[], float] = self.loop.time
        self.thread = threading.get_ident()
        """The thread of the event loop."""
        self.threads = ThreadPoolExecutor(capacity.maximum, thread_name_prefix="function")
        self.kept = Kept(self.now)
        self.running: set[Work] = set()
        """The calls whose functions have not ended."""
        self.effects: dict[str, Work] = {}
        """Those of them that have effects, by call id."""
        self.turn: Turn | None = None
        """Where coroutine functions take their first steps."""
