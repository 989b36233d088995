"""An event that somebody has published, and the workflows that begin on events."""

from dataclasses import dataclass
from datetime import datetime

from parade_scheduler.document import Document


@dataclass(frozen=True, slots=True)
class PublishedEvent:
    """An event."""

    namespace: str
    id: str
    """Unique in its namespace for as long as it is kept."""
    type: str
    value: Document
    create_time: datetime
    trace_parent: str = ""
    """The W3C `traceparent` of the request that published it."""


@dataclass(frozen=True, slots=True)
class EventTrigger:
    """A workflow that may begin on events of a type."""

    workflow: str
    version: int
    """The newest version that has such a trigger, which is the newest there is."""
    principal: str
    """Who put that version, and as whom the runs act: a SPIFFE id."""
