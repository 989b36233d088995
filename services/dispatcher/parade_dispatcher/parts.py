"""What all calls of one dispatcher share."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from parade_dispatcher.interceptor import Interceptor
from parade_dispatcher.pools import Pools
from parade_dispatcher.ports import Approvals, Deadlines, Gate, Later, Ledger, Mandates, Measurements, Now, Reach
from parade_dispatcher.schemas import Schemas

if TYPE_CHECKING:
    from parade_dispatcher.job import Job
    from parade_dispatcher.safeguard import Safeguard

Key = tuple[str, str]
"""A namespace and a name in it."""


@dataclass(slots=True)
class Parts:
    """The engine's parts, and its calls by their names."""

    pools: Pools
    reach: Reach
    ledger: Ledger
    gate: Gate
    approvals: Approvals
    schemas: Schemas
    mandates: Mandates
    measurements: Measurements
    deadlines: Deadlines
    now: Now
    later: Later
    chance: Callable[[], float]
    """A number from 0 up to, not including, 1."""
    interceptors: Sequence[Interceptor] = ()
    jobs: dict[Key, "Job"] = field(default_factory=dict)
    """The calls under way by namespace and id."""
    leaders: dict[Key, "Safeguard"] = field(default_factory=dict)
    """The records of the calls with effects under way, by namespace and idempotency key."""
