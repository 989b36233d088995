"""What can be done with schedules."""

from parade_scheduler.engine import Caller
from parade_scheduler.schedule import Schedule

Page = tuple[list[Schedule], str]
"""Some schedules, and the token of those that follow; empty at the end."""


class Schedules:
    """Puts, tells and deletes schedules."""

    async def put(self, caller: Caller, schedule: Schedule) -> Schedule:
        """Stores a schedule, or replaces the one of its name.

        Raises:
            ParadeError: INVALID_ARGUMENTS, naming every field at fault; NOT_FOUND (the workflow); NO_CAPACITY (too many schedules).
        """
        raise NotImplementedError

    async def get(self, caller: Caller, name: str) -> Schedule:
        """Returns a schedule.

        Raises:
            ParadeError: NOT_FOUND.
        """
        raise NotImplementedError

    async def list(self, caller: Caller, workflow: str, page_size: int, page_token: str) -> Page:
        """Returns a page of schedules by name, of one workflow where one is given.

        Raises:
            ParadeError: INVALID_ARGUMENTS, where the page token is bad.
        """
        raise NotImplementedError

    async def delete(self, caller: Caller, name: str) -> None:
        """Deletes a schedule. Runs that it has started go on.

        Raises:
            ParadeError: NOT_FOUND; FAILED_PRECONDITION, where it is part of a workflow's definition.
        """
        raise NotImplementedError
