"""What the parts that decide are given of the process around them, and of what leads runs. They know neither how it is served nor wired."""

from typing import Protocol

from parade.wire.log import Log
from parade_chassis.clock import Clock
from parade_chassis.ids import Ids
from parade_chassis.policies import Policies
from parade_chassis.standing import Standing
from parade_scheduler.config import Config
from parade_scheduler.definitions.catalogue import Catalogue
from parade_scheduler.leading.journal import Journal
from parade_scheduler.leading.ownership import Shards
from parade_scheduler.leading.remote import Outbox
from parade_scheduler.leading.watchers import Watchers


class Surroundings(Protocol):
    """The process."""

    @property
    def config(self) -> Config:
        """The settings."""
        ...

    @property
    def clock(self) -> Clock:
        """The time."""
        ...

    @property
    def ids(self) -> Ids:
        """What names new things."""
        ...

    @property
    def log(self) -> Log:
        """The log."""
        ...

    @property
    def standing(self) -> Standing:
        """What principals may do."""
        ...

    @property
    def policies(self) -> Policies:
        """What is forbidden all the same."""
        ...


class Leads(Protocol):
    """What leads the runs of this replica, and reaches those of others."""

    @property
    def journal(self) -> Journal:
        """The writer."""
        ...

    @property
    def shards(self) -> Shards:
        """Which runs are this replica's."""
        ...

    @property
    def catalogue(self) -> Catalogue:
        """The workflows."""
        ...

    @property
    def outbox(self) -> Outbox:
        """What is meant for others' runs goes there."""
        ...

    @property
    def watchers(self) -> Watchers:
        """Who waits for news of runs."""
        ...
