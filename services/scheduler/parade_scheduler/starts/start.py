"""What is asked when a run is started, and who asks."""

from collections.abc import Mapping
from dataclasses import dataclass

from parade_scheduler.document import Document
from parade_scheduler.starts.seed import Seed


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks."""

    namespace: str
    principal: str
    """A SPIFFE id, or the subject of an API key or a person."""
    trace_parent: str = ""
    """The W3C `traceparent` of the request."""
    is_absent: bool = False
    """Whether it has asked once, and nobody asks now: its right is looked for anew."""


@dataclass(frozen=True, slots=True)
class Start:
    """What a run is started with."""

    workflow: str
    version: int
    """0 for the newest."""
    inputs: Document
    request_id: str
    labels: Mapping[str, str]
    priority: int | None = None
    """From -100 to 100; the workflow's where None."""
    seed: Seed | None = None
    """What it takes over from an earlier run."""
    by_hand: bool = False
    """Whether nothing but somebody's wish starts it, which a workflow may forbid."""
