"""An engine with everything around it in a test's hand: instances that do as told, a ledger in memory, callers that note what they hear."""

import asyncio
import functools
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from parade.wire.deadlines import Deadlines
from parade.wire.errors import ParadeError, Reason
from parade.wire.identity import DEFAULT_DOMAIN, Identity
from parade.wire.log import Log
from parade.wire.mandate import Mandate, Refusal, refused
from parade.wire.revocations import Revocations
from parade.wire.roles import Role
from parade_chassis.clock import ManualClock
from parade_chassis.grants import Granted, Grants
from parade_chassis.ids import Ids
from parade_chassis.policies import Policies
from parade_chassis.quotas import Quotas
from parade_chassis.standing import Standing
from parade_dispatcher.approvals import Approvals
from parade_dispatcher.balancer import Balancer, LeastOutstanding
from parade_dispatcher.engine import Engine
from parade_dispatcher.gate import PolicyGate
from parade_dispatcher.interceptor import Interceptor
from parade_dispatcher.job import Job
from parade_dispatcher.mandates import Mandates
from parade_dispatcher.model import (
    Agent,
    Answer,
    Call,
    Conflict,
    Content,
    Effect,
    Entry,
    Failed,
    Fresh,
    Function,
    Instance,
    InstanceState,
    Outcome,
    Progress,
    Receipt,
    Request,
    RetryPolicy,
    Timing,
    Unfinished,
    Verdict,
)
from parade_dispatcher.parts import Parts
from parade_dispatcher.pools import Pools
from parade_dispatcher.ports import Receiver
from parade_dispatcher.quotas import CallLimits
from parade_dispatcher.schemas import Schemas
from tests.support.virtual_time import in_virtual_time
from tests.unit.dispatcher.approval_book import TestBook

CLIENT = Identity.client("dev")
APPROVAL_LIFETIME = timedelta(hours=24)
NUMBER = b'{"type": "number"}'
FUNCTIONS = {
    "read": Function("read", effect=Effect.PURE, timeout=10, result_schema=NUMBER),
    "again": Function("again", effect=Effect.IDEMPOTENT, timeout=10, retry=RetryPolicy(max_attempts=4)),
    "write": Function("write", effect=Effect.EFFECT, timeout=10, result_schema=NUMBER),
    "rows": Function("rows", effect=Effect.PURE, timeout=10, result_schema=NUMBER, streaming=True),
    "log": Function("log", effect=Effect.EFFECT, timeout=10, result_schema=NUMBER, streaming=True),
    "trip": Function("trip", effect=Effect.PURE, timeout=10, durable=True),
}


def chance(seed: int = 1) -> Random:
    return Random(seed)  # noqa: S311 - the same draws in every run


def virtual(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Runs a test in virtual time."""

    @functools.wraps(test)
    def run(*arguments: Any, **named: Any) -> None:
        in_virtual_time(lambda: test(*arguments, **named))

    return run


class Sent:
    """A call that an instance has, until the test says what becomes of it."""

    def __init__(self, instance: Instance, call: Call, deadline: float, receiver: Receiver) -> None:
        self.instance = instance
        self.call = call
        self.deadline = deadline
        self.receiver = receiver
        self.is_over = False
        self.is_abandoned = False
        self.is_cancelled = False
        self.granted = 0
        self.on_cancel: Callable[[], None] = lambda: None

    def cancel(self) -> None:
        self.is_cancelled = True
        asyncio.get_running_loop().call_soon(self.on_cancel)

    def abandon(self) -> None:
        self.is_abandoned = self.is_over = True

    def grant(self, size: int) -> None:
        self.granted += size

    def answer(self, result: Content | None = b"1", queued: float = 0.0, executing: float = 0.0) -> None:
        if not self.is_over:
            self.is_over = True
            self.receiver.answered(result, queued, executing)

    def fail(self, reason: Reason, message: str = "no", **fields: Any) -> None:
        if not self.is_over:
            self.is_over = True
            self.receiver.failed(ParadeError(reason, message, **fields), 0.0, 0.0)

    def lose(self, *, sent: bool = True) -> None:
        if not self.is_over:
            self.is_over = True
            self.receiver.lost("the connection broke", sent)


class TestReach:
    """Gives every call to the test."""

    __test__ = False

    def __init__(self) -> None:
        self.sent: list[Sent] = []
        self.behave: Callable[[Sent], None] = lambda sent: None
        self.refuses = False

    def send(self, instance: Instance, call: Call, deadline: float, receiver: Receiver) -> Sent:
        if self.refuses:
            raise ParadeError(Reason.NO_CAPACITY, "too much waits to be written")
        sent = Sent(instance, call, deadline, receiver)
        self.sent.append(sent)
        asyncio.get_running_loop().call_soon(self.behave, sent)
        return sent


@dataclass
class _Written:
    entry: Entry
    instance_id: str = ""
    outcome: Outcome | None = None
    waiting: list[tuple[Entry, Callable[[Verdict], None]]] = field(default_factory=list)


class TestLedger:
    """A ledger in memory, which takes `delay` seconds to write."""

    __test__ = False

    def __init__(self, delay: float = 0.0) -> None:
        self.delay = delay
        self.refusal: ParadeError | None = None
        """Why nothing can be written."""
        self.verdict: Verdict | None = None
        """What is said of the next call, as where another dispatcher wrote."""
        self.written: dict[tuple[str, str], _Written] = {}
        self.ended: Counter[str] = Counter()
        self.withdrawn: Counter[str] = Counter()

    def begin(self, entry: Entry, decided: Callable[[Verdict], None]) -> None:
        asyncio.get_running_loop().call_later(self.delay, self._decide, entry, decided)

    def _decide(self, entry: Entry, decided: Callable[[Verdict], None]) -> None:
        known = self.written.get((entry.namespace, entry.key))
        if self.refusal is not None:
            decided(Failed(self.refusal))
        elif self.verdict is not None:
            verdict, self.verdict = self.verdict, None
            self.written[entry.namespace, entry.key] = _Written(entry)
            decided(verdict)
        elif known is None:
            self.written[entry.namespace, entry.key] = _Written(entry)
            decided(Fresh())
        elif (entry.function, entry.arguments_hash) != (known.entry.function, known.entry.arguments_hash):
            decided(Conflict("the key was used for another call"))
        elif known.outcome is not None:
            decided(Receipt(known.outcome))
        elif known.entry.call_id == entry.call_id:
            decided(Unfinished(known.instance_id, known.entry.call_id))
        else:
            known.waiting.append((entry, decided))

    def assigned(self, entry: Entry, instance_id: str) -> None:
        self.written[entry.namespace, entry.key].instance_id = instance_id

    def end(self, entry: Entry, outcome: Outcome, written: Callable[[], None]) -> None:
        asyncio.get_running_loop().call_later(self.delay, self._end, entry, outcome, written)

    def _end(self, entry: Entry, outcome: Outcome, written: Callable[[], None]) -> None:
        known = self.written[entry.namespace, entry.key]
        known.outcome = outcome
        self.ended[entry.key] += 1
        written()
        self._wake(known)

    def withdraw(self, entry: Entry) -> None:
        self.withdrawn[entry.key] += 1
        self._wake(self.written.pop((entry.namespace, entry.key)))

    def _wake(self, known: _Written) -> None:
        waiting, known.waiting = known.waiting, []
        for entry, decided in waiting:
            self.begin(entry, decided)

    @property
    def open(self) -> list[str]:
        """The keys that were begun and neither ended nor withdrawn."""
        return [known.entry.key for known in self.written.values() if known.outcome is None]


class LoopClock:
    """The time of day as the loop's time passes."""

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=asyncio.get_running_loop().time())

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class Caller:
    """Notes what a caller hears."""

    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []
        self.timing = Timing()
        self.at = 0.0
        self.events: list[Any] = []
        self.job: Job | None = None

    def answered(self, answer: Answer) -> None:
        self.timing = answer.timing
        self._end(answer)

    def failed(self, error: ParadeError, timing: Timing) -> None:
        self.timing = timing
        self._end(error)

    def _end(self, outcome: Outcome) -> None:
        self.at = asyncio.get_running_loop().time()
        self.outcomes.append(outcome)

    def assigned(self, call_id: str, instance_id: str) -> None:
        self.events.append(("assigned", instance_id))

    def progressed(self, progress: Progress) -> None:
        self.events.append(("progress", progress.fraction))

    def item(self, value: Content) -> None:
        self.events.append(("item", value))

    def cancelling(self, state: str) -> None:
        self.events.append(("cancelling", state))

    @property
    def is_ended(self) -> bool:
        return bool(self.outcomes)

    @property
    def answer(self) -> Answer:
        [outcome] = self.outcomes
        assert isinstance(outcome, Answer), outcome
        return outcome

    @property
    def error(self) -> ParadeError:
        [outcome] = self.outcomes
        assert isinstance(outcome, ParadeError), outcome
        return outcome


class Shown:
    """Believes the mandates that a test has made up, of whoever shows them."""

    def __init__(self) -> None:
        self.mandates: dict[bytes, Mandate] = {}

    def verify(self, token: bytes, holder: str, namespace: str) -> Mandate:
        mandate = self.mandates.get(token)
        if mandate is None or (mandate.holder, mandate.namespace) != (holder, namespace):
            raise refused(Refusal.SIGNATURE, "it is not one of the test's")
        return mandate


class Noted:
    """Notes every attempt."""

    def __init__(self) -> None:
        self.attempts: list[tuple[str, str, str, float, float, float]] = []

    def attempt(self, request: Request, instance: Instance, outcome: str, queued: float, transport: float, executing: float) -> None:
        self.attempts.append((request.full_name, instance.id, outcome, queued, transport, executing))


class World:
    """An engine and what is around it; to be made within the loop."""

    def __init__(self, *, balancer: Balancer | None = None, interceptors: tuple[Interceptor, ...] = (), synced: bool = True) -> None:
        loop = asyncio.get_running_loop()
        self.loop = loop
        self.reach = TestReach()
        self.ledger = TestLedger()
        self.measured = Noted()
        self.shown = Shown()
        random = chance().random
        self.pools = Pools(balancer or LeastOutstanding(random), loop.time, loop.call_later, Quotas("dispatcher", {}, CallLimits()))
        self.grants = Grants()
        self.grants.replace([Granted(CLIENT.uri, "default", Role.DEVELOPER)])
        self.standing = Standing(self.grants, Revocations(), DEFAULT_DOMAIN, loop.time)
        self.policies = Policies()
        self.policies.replace(())
        self.approved = TestBook()
        deadlines = Deadlines(loop)
        self.approvals = Approvals(self.approved.opened, LoopClock(), deadlines, Log(), APPROVAL_LIFETIME)
        self.parts = Parts(
            pools=self.pools,
            reach=self.reach,
            ledger=self.ledger,
            gate=PolicyGate(self.policies, self.standing),
            approvals=self.approvals,
            schemas=Schemas(1000),
            mandates=Mandates(self.shown, self.standing, max_depth=4),
            measurements=self.measured,
            deadlines=deadlines,
            now=loop.time,
            later=loop.call_later,
            chance=random,
            interceptors=interceptors,
        )
        self.engine = Engine(self.parts, Ids(ManualClock()))
        self.pools.put(Agent("default", "store", functions=FUNCTIONS))
        if synced:
            self.pools.synced()

    @property
    def sent(self) -> list[Sent]:
        return self.reach.sent

    def instance(self, id: str, state: InstanceState = InstanceState.READY, **fields: Any) -> Instance:
        """Puts an instance."""
        fields = {"max_concurrency": 2, "functions": FUNCTIONS, **fields}
        instance = Instance(id, "default", "store", "127.0.0.1:1", f"{id}.test", state, **fields)
        self.pools.put(instance)
        return instance

    def call(self, function: str = "read", **fields: Any) -> Caller:
        """Makes a call."""
        caller = Caller()
        fields = {"agent": "store", "arguments": b"{}", "caller": CLIENT, "principal": CLIENT.uri, **fields}
        request = Request(function=function, namespace="default", **fields)
        caller.job = self.engine.begin(request, caller)
        return caller

    def with_instance(self, id: str) -> list[Sent]:
        """Returns the calls that an instance has now."""
        return [sent for sent in self.sent if sent.instance.id == id and not sent.is_over]


async def pause(seconds: float = 0.0) -> None:
    """Lets time pass, and everything happen that follows at once."""
    await asyncio.sleep(seconds)
    for _ in range(10):
        await asyncio.sleep(0)
