"""Takes turns with durable functions, and keeps those that wait, so that the next turn need not play them from their first line."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson

from parade.durable.execution import Execution
from parade.durable.journal import AGAIN, Envelope
from parade.function import Function
from parade.wire.log import Log

MAX_KEPT = 1_000
MAX_KEPT_BYTES = 64 * 1024 * 1024
"""How large the journals of all that are kept may be together: about what the functions hold."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn, about to be taken."""

    key: tuple[str, str]
    """The run and the function."""
    execution: Execution | None
    """None where the function must be told the whole journal."""
    envelope: Envelope
    size: int
    """How large the journal is."""


class Turns:
    """The durable functions of one instance as they wait between turns. Losing one costs time and nothing else."""

    def __init__(self, max_kept: int = MAX_KEPT, max_kept_bytes: int = MAX_KEPT_BYTES) -> None:
        """Starts with none."""
        self._max_kept = max_kept
        self._max_kept_bytes = max_kept_bytes
        self._kept: OrderedDict[tuple[str, str], tuple[Execution, int]] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        """Returns how many are kept."""
        return len(self._kept)

    def prepare(self, function: Function, run_id: str, data: bytes, make_log: Callable[[], Log], artifacts: Any = None) -> Turn:
        """Makes a turn ready that is taken at once.

        Args:
            function: The function.
            run_id: The run.
            data: The arguments of the turn, as JSON.
            make_log: Makes the function's log.
            artifacts: What reads the artifacts among the function's arguments.

        Raises:
            ParadeError: INVALID_ARGUMENTS, where these are none.
        """
        envelope = Envelope.read(data)
        key = (run_id, function.name)
        execution, size = self._take_out(key)
        if execution is not None and not execution.fits(envelope):
            execution.close()
            execution = None
        if envelope.digests is None:
            return Turn(key, execution, envelope, size + len(data))
        if execution is None:
            execution = Execution(function, function.decode(orjson.dumps(envelope.arguments), artifacts), run_id, make_log)
        return Turn(key, execution, envelope, len(data))

    def take(self, turn: Turn) -> bytes:
        """Takes a turn, and returns what the scheduler is to be told.

        Raises:
            Exception: What the function raised.
        """
        execution = turn.execution
        if execution is None:
            return AGAIN
        try:
            answer = execution.turn(turn.envelope)
        except BaseException:
            execution.close()
            raise
        if answer.over:
            execution.close()
        else:
            self._keep(turn.key, execution, turn.size)
        return answer.data

    def close(self) -> None:
        """Forgets all."""
        while self._kept:
            self._drop_oldest()

    def _take_out(self, key: tuple[str, str]) -> tuple[Execution | None, int]:
        execution, size = self._kept.pop(key, (None, 0))
        self._bytes -= size
        return execution, size

    def _keep(self, key: tuple[str, str], execution: Execution, size: int) -> None:
        self._kept[key] = execution, size
        self._bytes += size
        while self._kept and (len(self._kept) > self._max_kept or self._bytes > self._max_kept_bytes):
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        _, (execution, size) = self._kept.popitem(last=False)
        self._bytes -= size
        execution.close()
