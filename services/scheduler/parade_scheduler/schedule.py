"""A schedule: when runs of a workflow start by themselves."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from parade_scheduler.document import Document


class CatchUp(StrEnum):
    """What becomes of times that passed while no scheduler ran: the names of `parade.v1.CatchUp` without their prefix."""

    NONE = "NONE"
    """Nothing."""
    LAST = "LAST"
    """One run is started for the last of them."""
    ALL = "ALL"
    """A run is started for each of them, at most 100."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """One schedule, as somebody puts it and as it is kept."""

    name: str
    """Unique in its namespace. Those of definitions are called `<workflow>.<number>`."""
    workflow: str
    """Which workflow it starts, in its newest version when the time comes."""
    cron: str
    """Five fields, as cron has them."""
    time_zone: str = "UTC"
    """An IANA name."""
    catch_up: CatchUp = CatchUp.LAST
    inputs: Document = field(default_factory=lambda: Document(b"{}"))
    """The inputs of the runs, an object."""
    paused: bool = False
    next_time: datetime | None = None
    """When it starts a run next; None where it rests, or where no such time comes."""
    last_time: datetime | None = None
    """When it last did: the time that was due, not that of the start."""
    last_run_id: str = ""
    """The run that it started last."""
    defined: bool = False
    """Whether it is part of the workflow's definition."""
    namespace: str = ""
    """Where it is; the caller's, whatever is put."""
    principal: str = ""
    """Who put it, and as whom its runs act: a SPIFFE id; the caller's, whatever is put."""
