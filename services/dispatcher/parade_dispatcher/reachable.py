"""What it means where the database fails: the errors of Parade for it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from parade.wire.errors import ParadeError, Reason


@asynccontextmanager
async def reachable() -> AsyncIterator[None]:
    """Turns the failures of a database into errors of Parade; those of what is written pass."""
    try:
        yield
    except (DBAPIError, PoolTimeoutError, OSError) as error:
        found = _refusal(error)
        if found is None:
            raise
        raise found from error


def _refusal(error: Exception) -> ParadeError | None:
    """Returns the error for a database that fails; None where it is what was written that is wrong."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    code = str(getattr(cause, "sqlite_errorname", "") or getattr(cause, "sqlstate", ""))
    if code in ("SQLITE_FULL", "53100"):
        message = "the disk of the dispatcher's database is full; what must be written down first is not done until there is room"
        return ParadeError(Reason.NO_CAPACITY, message, metadata={"retry_after": "5"})
    if code.startswith(("22", "23", "42")) or (
        isinstance(error, DBAPIError) and not code and not isinstance(error, OperationalError | InterfaceError)
    ):
        return None
    return ParadeError(Reason.UNAVAILABLE, f"the dispatcher's database cannot be used now: {cause}")
