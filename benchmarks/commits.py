"""How many transactions a database has committed that wrote something, whoever wrote: counted in the database itself, from outside.

SQLite marks the last frame of every commit in its write-ahead log. While somebody reads, the log cannot begin anew, so all of them are in
it. Source of the format: https://www.sqlite.org/fileformat2.html#the_write_ahead_log. PostgreSQL gives a transaction a number when it first
writes, and never the same one twice.
"""

import sqlite3
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path

import asyncpg

HEADER = struct.Struct(">4I8s8s")
"""Magic number, format, page size, number of the checkpoint, salt, checksum."""
FRAME = struct.Struct(">2I8s8s")
"""Page, size of the database after a commit or 0, salt, checksum; the page follows."""


@dataclass(slots=True)
class Commits:
    """What was counted."""

    count: int = 0
    """How many; known once the block has ended."""


@asynccontextmanager
async def counted(url: str) -> AsyncIterator[Commits]:
    """Counts the commits of the block, in the database of an URL: `sqlite:///path` or `postgresql://…`."""
    commits = Commits()
    if url.startswith("sqlite:///"):
        path = Path(url.removeprefix("sqlite:///"))
        with closing(sqlite3.connect(path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM sqlite_master").fetchone()
            salt, before = _in_log(path)
            yield commits
            newer_salt, after = _in_log(path)
            # Where the whole log was in the database already, the first writer of the block could still begin it anew; no later one.
            commits.count = after - before if newer_salt == salt else after
        return
    connection = await asyncpg.connect(url)
    try:
        before = await connection.fetchval(_NEXT)
        yield commits
        commits.count = await connection.fetchval(_NEXT) - before
    finally:
        await connection.close()


_NEXT = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint"


def _in_log(path: Path) -> tuple[bytes, int]:
    """Returns the salt of a database's write-ahead log and how many commits are in it."""
    log = path.with_name(path.name + "-wal")
    if not log.exists():
        return b"", 0
    with log.open("rb") as file:
        head = file.read(HEADER.size)
        if len(head) < HEADER.size:
            return b"", 0
        _magic, _format, page_size, _checkpoint, salt, _checksum = HEADER.unpack(head)
        commits = 0
        while len(frame := file.read(FRAME.size)) == FRAME.size:
            _page, size, frame_salt, _frame_checksum = FRAME.unpack(frame)
            if frame_salt != salt:
                break  # what follows was left by the log before
            commits += size > 0
            file.seek(page_size, 1)
    return salt, commits
