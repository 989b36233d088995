"""A PostgreSQL server for a case: in a temporary folder, reached over a Unix socket there, and as durable as it comes.

PostgreSQL refuses to run as root; then it runs as the user `postgres`, or `nobody`.
"""

import asyncio
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncpg

TIMEOUT = 60
"""Seconds that the server may take to start or to stop."""
SUPERUSER = "parade"
SETTINGS = {
    # They are what PostgreSQL comes with; they stand here because the figures are worth nothing without them.
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
}


class PostgresServer:
    """A running server."""

    def __init__(self, folder: Path) -> None:
        """Takes the folder of its socket."""
        self._folder = folder

    def database(self, name: str) -> str:
        """Makes an empty database, in the place of one that there is, and returns its URL."""

        async def make() -> None:
            connection = await asyncpg.connect(host=str(self._folder), user=SUPERUSER, database="postgres")
            try:
                await connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
                await connection.execute(f"CREATE DATABASE {name}")
            finally:
                await connection.close()

        asyncio.run(make())
        return f"postgresql://{SUPERUSER}@/{name}?host={self._folder}"


def missing() -> str:
    """Returns why PostgreSQL cannot be started here; empty where it can."""
    if _programs() is None:
        return "there is no `initdb` and `pg_ctl` on PATH or in /usr/lib/postgresql"
    if os.geteuid() == 0 and _user() is None:
        return "PostgreSQL does not run as root, and there is no user `postgres` or `nobody` to run it as"
    return ""


@contextmanager
def server() -> Iterator[PostgresServer]:
    """Runs a server for the block.

    Raises:
        FileNotFoundError: PostgreSQL is not installed.
        subprocess.CalledProcessError: It did not start.
    """
    programs = _programs()
    if programs is None:
        raise FileNotFoundError(missing())
    folder = Path(tempfile.mkdtemp(prefix="parade-postgres-"))  # short: the path of a socket holds about 100 characters
    user = _user() if os.geteuid() == 0 else None
    as_user: dict[str, Any] = {}
    if user is not None:
        os.chown(folder, user.pw_uid, user.pw_gid)
        as_user = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}

    def run(program: str, *arguments: str) -> None:
        command = [str(programs / program), f"--pgdata={folder / 'data'}", *arguments]
        subprocess.run(command, cwd=folder, check=True, timeout=TIMEOUT, stdout=subprocess.DEVNULL, **as_user)

    settings = {**SETTINGS, "unix_socket_directories": folder}
    # The empty host at the end is that of TCP: it listens nowhere but at the socket.
    options = " ".join([*(f"-c {name}={value}" for name, value in settings.items()), "-h ''"])
    try:
        run("initdb", f"--username={SUPERUSER}", "--auth=trust", "--encoding=UTF8", "--no-locale")
        run("pg_ctl", "--silent", f"--timeout={TIMEOUT}", f"--log={folder / 'server.log'}", f"--options={options}", "start")
        try:
            yield PostgresServer(folder)
        finally:
            run("pg_ctl", "--silent", f"--timeout={TIMEOUT}", "--mode=fast", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _programs() -> Path | None:
    """Returns the folder of PostgreSQL's programs, the newest where there are several; None where there is none."""
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: float(folder.parent.name), reverse=True)
    found = shutil.which("initdb")
    on_path = [Path(found).resolve().parent] if found else []
    return next((folder for folder in [*on_path, *installed] if (folder / "pg_ctl").exists() and (folder / "initdb").exists()), None)


def _user() -> pwd.struct_passwd | None:
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    return None
