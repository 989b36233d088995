"""What can be done with schedules."""

import re
from dataclasses import replace
from typing import Any, Final

from parade.wire.audit import Kind
from parade.wire.errors import ParadeError, Reason, Violation
from parade_chassis import paging
from parade_chassis.audit import Record
from parade_chassis.clock import Clock
from parade_scheduler.definitions.catalogue import Catalogue
from parade_scheduler.language import cron
from parade_scheduler.refusal import refused
from parade_scheduler.schedule import Schedule
from parade_scheduler.starts.start import Caller
from parade_scheduler.storage.audit_records import SERVICE
from parade_scheduler.storage.schedules_store import ScheduleStore
from parade_scheduler.triggers.due_times import next_time

Page = tuple[list[Schedule], str]
"""Some schedules, and the token of those that follow; empty at the end."""

MAX_INPUT_BYTES: Final = 64 * 1024
"""How large the inputs of a schedule's runs may be, as JSON: a thousand schedules are read at once."""

_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,62}")
_NAME_RULE: Final = "is a lower-case letter, then lower-case letters, digits or `-`, at most 63"
_ANY_NAME: Final = re.compile(r"[a-z][a-z0-9.-]{0,79}")
"""What names of schedules and workflows look like; nothing else is looked for."""


class Schedules:
    """Puts, tells and deletes schedules."""

    def __init__(self, store: ScheduleStore, catalogue: Catalogue, clock: Clock, *, limit: int) -> None:
        """Takes where schedules are kept, the workflows, and the time; `limit` bounds the schedules of a namespace."""
        self._store = store
        self._catalogue = catalogue
        self._clock = clock
        self._limit = limit

    async def put(self, caller: Caller, schedule: Schedule) -> Schedule:
        """Stores a schedule, or replaces the one of its name. Of one that is part of a definition only `paused` can be changed.

        Raises:
            ParadeError: INVALID_ARGUMENTS, naming every field at fault; NOT_FOUND (the workflow); NO_CAPACITY (too many schedules).
        """
        if not _ANY_NAME.fullmatch(schedule.workflow):
            raise ParadeError(
                Reason.NOT_FOUND, f"the workflow `{schedule.workflow[:80]}` does not exist in the namespace `{caller.namespace}`"
            )
        workflow = await self._catalogue.workflow(caller.namespace, schedule.workflow)
        definition = await self._catalogue.definition(workflow)
        faults = _faults(schedule)
        if not faults:
            try:
                definition.inputs.complete(schedule.inputs.value)
            except ParadeError as error:
                faults = [replace(one, field=f"schedule.{one.field}") for one in error.violations]
                faults = faults or [Violation("schedule.inputs", error.message)]
        if faults:
            raise refused(faults, "the schedule cannot be put")
        wanted = replace(
            schedule, namespace=caller.namespace, principal=caller.principal, defined=False, next_time=None, last_time=None, last_run_id=""
        )
        facts = {"workflow": wanted.workflow, "cron": wanted.cron, "time_zone": wanted.time_zone, "paused": wanted.paused}
        audit = [self._record("PutSchedule", caller, schedule.name, facts)]
        return await self._store.put(caller.namespace, schedule.name, lambda before: self._changed(before, wanted), self._limit, audit)

    async def get(self, caller: Caller, name: str) -> Schedule:
        """Returns a schedule.

        Raises:
            ParadeError: NOT_FOUND.
        """
        found = await self._store.schedule(caller.namespace, name) if _ANY_NAME.fullmatch(name) else None
        if found is None:
            raise ParadeError(Reason.NOT_FOUND, f"the schedule `{name[:80]}` does not exist in the namespace `{caller.namespace}`")
        return found

    async def list(self, caller: Caller, workflow: str, page_size: int, page_token: str) -> Page:
        """Returns a page of schedules by name, of one workflow where one is given.

        Raises:
            ParadeError: INVALID_ARGUMENTS, where the page token is bad.
        """
        scope = f"schedules {caller.namespace} {workflow}"
        size, after = paging.size_of(page_size), paging.last_of(scope, page_token)
        if workflow and not _ANY_NAME.fullmatch(workflow):
            return [], ""
        found = await self._store.schedules(caller.namespace, workflow, after, size + 1)
        return paging.page_of(found, size, scope, lambda one: one.name, lambda one: 600 + len(one.inputs.data))

    async def delete(self, caller: Caller, name: str) -> None:
        """Deletes a schedule. Runs that it has started go on.

        Raises:
            ParadeError: NOT_FOUND; FAILED_PRECONDITION, where it is part of a workflow's definition.
        """
        found = await self.get(caller, name)
        if found.defined:
            message = f"`{name}` is part of the workflow `{found.workflow}`: put the workflow without it, or pause it"
            raise ParadeError(Reason.FAILED_PRECONDITION, message)
        await self._store.delete(caller.namespace, name, [self._record("DeleteSchedule", caller, name, {"workflow": found.workflow})])

    def _record(self, method: str, caller: Caller, name: str, facts: dict[str, Any]) -> Record:
        return Record(Kind.CHANGE, SERVICE + method, caller.principal, caller.namespace, f"schedules/{name}", self._clock.now(), facts)

    def _changed(self, before: Schedule | None, wanted: Schedule) -> Schedule:
        if before is not None and before.defined:
            if _told(before) != _told(wanted):
                fault = f"is part of the workflow `{before.workflow}`: all but `paused` is said by its definition"
                raise refused([Violation("schedule.name", fault)], "the schedule cannot be put")
            wanted = replace(before, paused=wanted.paused)
        elif not _NAME.fullmatch(wanted.name):
            raise refused([Violation("schedule.name", _NAME_RULE)], "the schedule cannot be put")
        return succeeding(before, wanted, self._clock)


def succeeding(before: Schedule | None, wanted: Schedule, clock: Clock) -> Schedule:
    """Returns a schedule as it follows on the one before it: with what that has done, and its next time where both mean the same times."""
    if before is None:
        return replace(wanted, next_time=next_time(wanted, clock.now()))
    goes_on = not before.paused and not wanted.paused and (before.cron, before.time_zone) == (wanted.cron, wanted.time_zone)
    time = before.next_time if goes_on else next_time(wanted, clock.now())
    return replace(wanted, next_time=time, last_time=before.last_time, last_run_id=before.last_run_id)


def _told(schedule: Schedule) -> tuple[object, ...]:
    """Returns what a definition says of a schedule."""
    return schedule.workflow, schedule.cron, schedule.time_zone, schedule.catch_up, schedule.inputs.value


def _faults(schedule: Schedule) -> list[Violation]:
    faults: list[Violation] = []
    if not _ANY_NAME.fullmatch(schedule.name):
        faults.append(Violation("schedule.name", _NAME_RULE))
    if fault := cron.fault(schedule.cron):
        faults.append(Violation("schedule.cron", fault))
    if not cron.is_zone(schedule.time_zone):
        faults.append(Violation("schedule.time_zone", f"there is no time zone `{schedule.time_zone[:60]}`; give an IANA name"))
    if fault := input_fault(schedule):
        faults.append(Violation("schedule.inputs", fault))
    return faults


def input_fault(schedule: Schedule) -> str:
    """Returns what is wrong with the size of a schedule's inputs; an empty text where nothing is."""
    size = len(schedule.inputs.data)
    return f"have {size:,} bytes as JSON; at most {MAX_INPUT_BYTES:,}" if size > MAX_INPUT_BYTES else ""
