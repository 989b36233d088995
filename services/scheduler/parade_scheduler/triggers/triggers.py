"""What starts runs by itself and lets waiting ones go on, wired: schedules, events, concurrency groups, and the limits of namespaces."""

from parade_chassis.lifecycle import Process
from parade_chassis.store import Database
from parade_scheduler.config import Config
from parade_scheduler.leadership import Leadership
from parade_scheduler.rights import Rights
from parade_scheduler.starts.groups import Groups
from parade_scheduler.starts.history_limit import HistoryLimit
from parade_scheduler.starts.limits import Limits
from parade_scheduler.storage.events_store import EventStore
from parade_scheduler.storage.groups_store import GroupStore
from parade_scheduler.storage.schedules_store import ScheduleStore
from parade_scheduler.storage.store import Store
from parade_scheduler.triggers.defined_starts import DefinedStarts
from parade_scheduler.triggers.event_delivery import EventDelivery
from parade_scheduler.triggers.events import Events
from parade_scheduler.triggers.schedule_runner import ScheduleRunner, Starts
from parade_scheduler.triggers.schedules import Schedules


class Triggers:
    """The parts, of one replica.

    Attributes:
        limits: What a namespace may have.
        defined: What definitions say of it, for who stores them.
        schedules: What can be done with schedules.
    """

    def __init__(self, process: Process[Config], database: Database, store: Store, leadership: Leadership) -> None:
        """Takes the process, its database, the store of its runs, and what leads them."""
        config, clock, log = process.config, process.clock, process.log
        schedules, self._events, groups = ScheduleStore(database), EventStore(database), GroupStore(database)
        self._process = process
        self._leadership = leadership
        self._schedule_store = schedules
        self.limits = Limits(config, store, groups, self._events, clock)
        self.defined = DefinedStarts(schedules, self._events, clock, max_schedules=config.max_schedules_per_namespace)
        self.schedules = Schedules(schedules, leadership.catalogue, clock, limit=config.max_schedules_per_namespace)
        self._groups = Groups(groups, leadership.catalogue, leadership.outbox, leadership.inbox, clock, log)
        store.listen(self._groups.written)
        store.listen(HistoryLimit(config.max_history, leadership.journal.report).written)

    def begin(self, starts: Starts, rights: Rights) -> Events:
        """Starts runs and lets runs go on from here on, and returns what publishes events.

        Args:
            starts: Starts runs.
            rights: Who may publish what.
        """
        leadership, clock, log = self._leadership, self._process.clock, self._process.log
        runner = ScheduleRunner(self._schedule_store, starts, clock, log)
        delivery = EventDelivery(self._events, leadership.catalogue, starts, leadership.outbox, leadership.inbox, clock, log)
        leadership.background(runner.lead(leadership.held), "schedules")
        leadership.background(delivery.lead(leadership.held), "events")
        leadership.background(self._groups.lead(leadership.held), "groups")
        return Events(self._events, delivery, self.limits, rights, clock, self._process.ids)
