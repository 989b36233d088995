"""The way to the store, which is opened when the first effect or started call, or the calls of a dispatcher that has ended, need it.

SQLAlchemy and its drivers cost a process some 20 MB, and a mesh in which nothing is written down needs none of them. Until then a database
of SQLite is looked at with the interpreter's own module: at the start, so that a wrong URL, a folder that cannot be written and a file that
is no database fail there with a clear message; and again whenever the file has changed, since another dispatcher may have left calls in it.
A database of PostgreSQL is opened at the start: it is on another machine, and who runs one counts in other sizes.
"""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from parade_chassis.audit import Record
    from parade_chassis.audit_log import AuditLog
    from parade_dispatcher.changes import Change, EffectRecord, Given, Key, Standing
    from parade_dispatcher.store import Store

_SQLITE: Final = "sqlite:///"
_OPEN_CALLS: Final = "SELECT EXISTS (SELECT 1 FROM started_call WHERE ended IS NULL)"


class Storage:
    """The store of one dispatcher, opened or not."""

    def __init__(self, url: str, id: str, name: str) -> None:
        """Takes where the database is; `start` looks whether it is of use.

        Args:
            url: `sqlite:///path` or `postgresql://user:password@host/database`.
            id: Names this process among all dispatchers.
            name: Which replica this is, the same over restarts.
        """
        self._url = url
        self.id = id
        self.name = name
        self._path = Path(unquote(url.removeprefix(_SQLITE).partition("?")[0])) if url.startswith(_SQLITE) else None
        self._store: Store | None = None
        self._opening = asyncio.Lock()
        self._looked_at: object = None

    @property
    def opened(self) -> bool:
        """Whether the store is open."""
        return self._store is not None

    async def start(self) -> None:
        """Looks whether the database is of use.

        Raises:
            ValueError: It is not; the message says why.
        """
        if self._path is None:
            try:
                await self.store()
            except ValueError:
                raise
            except Exception as error:
                raise ValueError(f"the dispatcher's database cannot be used: {error}") from error
            return
        import sqlite3

        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.closing(sqlite3.connect(self._path, timeout=10)) as connection:
                connection.execute("BEGIN IMMEDIATE")  # it can be written, and it is a database
                connection.rollback()
        except (OSError, sqlite3.Error) as error:
            raise ValueError(f"the dispatcher's database {self._path} cannot be used: {error}") from error

    def has_open_calls(self) -> bool:
        """Returns whether the database, where it is not open yet, holds started calls that have not ended."""
        if self._path is None:
            return True
        state = tuple(_state(Path(f"{self._path}{suffix}")) for suffix in ("", "-wal"))
        if state == self._looked_at:
            return False
        self._looked_at = state
        import sqlite3

        try:
            with contextlib.closing(sqlite3.connect(self._path, timeout=0.1)) as connection:
                found = bool(connection.execute(_OPEN_CALLS).fetchone()[0])
        except sqlite3.OperationalError as error:
            if "no such table" in str(error):
                return False
            self._looked_at = None
            return False
        if found:
            self._looked_at = None  # where the store cannot be opened now, it is found again
        return found

    async def store(self) -> Store:
        """Returns the store, and opens it first where it is not open.

        Raises:
            ParadeError: UNAVAILABLE or NO_CAPACITY, where the database fails.
        """
        if self._store is not None:
            return self._store
        async with self._opening:
            if self._store is None:
                self._store = await self._open()
        return self._store

    async def _open(self) -> Store:
        # Importing takes a third of a second: calls that need none of it go on meanwhile.
        await asyncio.to_thread(__import__, "parade_dispatcher.store")
        from parade_chassis.store import Database
        from parade_dispatcher.reachable import reachable
        from parade_dispatcher.store import Store
        from parade_dispatcher.tables import METADATA

        async with reachable():
            return Store(await Database.open(self._url, "parade_dispatcher", METADATA), self.id, self.name)

    async def write(self, changes: Sequence[Change]) -> list[Given]:
        """Writes changes in one transaction. See `Store.write`."""
        return await (await self.store()).write(changes)

    async def effects(self, keys: Collection[Key]) -> dict[Key, EffectRecord]:
        """Returns what is written of effects. See `Store.effects`."""
        return await (await self.store()).effects(keys)

    async def standings(self, keys: Collection[Key]) -> dict[Key, Standing]:
        """Returns where started calls stand. See `Store.standings`."""
        return await (await self.store()).standings(keys)

    async def record(self, records: Sequence[Record]) -> None:
        """Writes into the audit log. See `Store.record`."""
        await (await self.store()).record(records)

    async def audit_log(self) -> AuditLog:
        """Returns the audit log."""
        return (await self.store()).audit_log

    async def close(self) -> None:
        """Closes the store where it is open."""
        if self._store is not None:
            await self._store.close()
            self._store = None


def _state(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns
