"""Who may come in: holders of an API key, as the agent_manager says. What it has said is remembered for a moment.

A key is told from anything else by its checksum, without asking. Keys that were good are asked for at any time; those that nobody has
shown before are asked for so often and no more, so that who tries keys out costs the agent_manager little and holds nobody else up.
"""

from asyncio import Lock
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, TypeVar

from parade.v1 import key_pb2
from parade.wire.errors import ParadeError, Reason
from parade.wire.role_numbers import role_of
from parade_chassis.api_key import KeyMark, digest_of, mark_of
from parade_chassis.clock import Clock
from parade_gateway.caller import Caller
from parade_gateway.challenge import challenged
from parade_gateway.errors import HttpError
from parade_gateway.strangers import Strangers

FRESH: Final = 5.0
"""Seconds that a good answer is believed."""
REFUSED: Final = 1.0
"""Seconds that a refusal is."""
MOST: Final = 4096
"""How many answers of each kind are remembered."""
ASK_TIMEOUT: Final = 2.0
"""Seconds that the agent_manager may take."""
_AWAY: Final = frozenset({Reason.UNAVAILABLE, Reason.DEADLINE_EXCEEDED})

AnswerT = TypeVar("AnswerT")

Ask = Callable[[key_pb2.AuthenticateKeyRequest, float], Awaitable[key_pb2.AuthenticateKeyResponse]]
"""Asks the agent_manager, which may take so many seconds."""


@dataclass(slots=True)
class _Answer:
    caller: Caller
    until: float
    """Until when it is believed, by the monotonic clock."""
    end: float
    """When the key itself ends, by the same clock."""


@dataclass(slots=True)
class _Turn:
    lock: Lock
    waiting: int = 0


class Keys:
    """The keys that are shown, and whose they are."""

    def __init__(self, ask: Ask, clock: Clock) -> None:
        """Takes who knows the keys, and the time."""
        self._ask = ask
        self._clock = clock
        self._good: OrderedDict[bytes, _Answer] = OrderedDict()
        """By the digests of keys; the keys themselves are not kept."""
        self._refused: OrderedDict[bytes, float] = OrderedDict()
        """Until when a refusal is believed."""
        self._turns: dict[bytes, _Turn] = {}
        """Who asks for what at the moment."""
        self._strangers = Strangers(clock)

    def known(self, shown: str) -> Caller | None:
        """Returns whose key this is, where that was said a moment ago."""
        return self._believed(digest_of(shown))

    async def caller(self, shown: str) -> Caller:
        """Returns whose key this is.

        Raises:
            HttpError: 401 where it is nobody's.
            ParadeError: NO_CAPACITY where too many unknown keys were shown; UNAVAILABLE or DEADLINE_EXCEEDED where nobody can say.
        """
        mark = mark_of(shown)
        if mark is None:
            raise invalid_key()
        async with self._turn(mark.digest):
            # Somebody else may have asked meanwhile.
            known = self._believed(mark.digest)
            if known is not None:
                return known
            if self._refused.get(mark.digest, 0.0) > self._clock.monotonic():
                raise invalid_key()
            return await self._asked(mark)

    async def _asked(self, mark: KeyMark) -> Caller:
        before = self._good.get(mark.digest)
        if before is None:
            self._strangers.admit()
        try:
            response = await self._ask(key_pb2.AuthenticateKeyRequest(id=mark.id, digest=mark.digest), ASK_TIMEOUT)
        except ParadeError as error:
            now = self._clock.monotonic()
            if error.reason is Reason.UNAUTHENTICATED:
                self._good.pop(mark.digest, None)
                _remember(self._refused, mark.digest, now + REFUSED)
                raise invalid_key() from error
            # While the agent_manager is away nobody can be kept out, by certificates no more than by keys: what it said last stands.
            if error.reason not in _AWAY or before is None or now >= before.end:
                raise
            before.until = min(now + FRESH, before.end)
            return before.caller
        caller = Caller(response.subject, response.namespace, role_of(response.role))
        left = response.expire_time.ToNanoseconds() / 1e9 - self._clock.now().timestamp()
        now = self._clock.monotonic()
        _remember(self._good, mark.digest, _Answer(caller, now + min(FRESH, left), now + left))
        return caller

    def _believed(self, digest: bytes) -> Caller | None:
        answer = self._good.get(digest)
        return answer.caller if answer is not None and self._clock.monotonic() < answer.until else None

    @asynccontextmanager
    async def _turn(self, digest: bytes) -> AsyncIterator[None]:
        turn = self._turns.setdefault(digest, _Turn(Lock()))
        turn.waiting += 1
        try:
            async with turn.lock:
                yield
        finally:
            turn.waiting -= 1
            if turn.waiting == 0:
                del self._turns[digest]


def invalid_key() -> HttpError:
    """Makes the error for a key that is nobody's. To the outside all such keys are one."""
    return challenged("this API key is not known, has expired or was revoked; ask an admin for another", "invalid_token")


def _remember(answers: OrderedDict[bytes, AnswerT], digest: bytes, answer: AnswerT) -> None:
    answers[digest] = answer
    answers.move_to_end(digest)
    if len(answers) > MOST:
        answers.popitem(last=False)
