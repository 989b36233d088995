"""A PostgreSQL server to throw away: started in a temporary folder, reached over a Unix socket there, stopped at the end.

PostgreSQL refuses to run as root; then it runs as the user `postgres`, or `nobody`.
"""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg

START_TIMEOUT = 30.0
STOP_TIMEOUT = 15.0
SUPERUSER = "parade"


class PostgresServer:
    """A running server."""

    def __init__(self, folder: Path, running: "_Running") -> None:
        """Takes the folder of its socket, and what starts and stops it."""
        self._folder = folder
        self._running = running

    def stop(self) -> None:
        """Stops the server as its administrator does: transactions under way are lost, what was committed is kept."""
        self._running.stop()

    def start(self) -> None:
        """Starts it again."""
        self._running.start()

    def url(self, database: str) -> str:
        """Returns the URL of a database, as services are told it."""
        return f"postgresql://{SUPERUSER}@/{database}?host={self._folder}"

    @asynccontextmanager
    async def database(self) -> AsyncIterator[str]:
        """Makes an empty database for the block and gives its URL."""
        name = f"test_{uuid4().hex}"
        await self._execute(f"CREATE DATABASE {name}")
        yield self.url(name)
        await self._execute(f"DROP DATABASE {name} WITH (FORCE)")

    async def _execute(self, statement: str) -> None:
        # A connection for each: the server may be restarted in between.
        connection = await asyncpg.connect(host=str(self._folder), user=SUPERUSER, database="postgres")
        try:
            await connection.execute(statement)
        finally:
            await connection.close()


def missing() -> str:
    """Returns why PostgreSQL cannot be started here; empty where it can."""
    if _programs() is None:
        return "PostgreSQL is not installed: no `initdb` on PATH or in /usr/lib/postgresql"
    if os.geteuid() == 0 and _user() is None:
        return "PostgreSQL does not run as root, and there is no user `postgres` or `nobody` to run it as"
    return ""


@contextmanager
def server() -> Iterator[PostgresServer]:
    """Runs a server for the block. It trades safety in a crash of the machine for speed.

    Raises:
        RuntimeError: The server did not start; the message holds its log.
    """
    programs = _programs()
    if programs is None:
        raise RuntimeError(missing())
    user = _user() if os.geteuid() == 0 else None
    as_user: dict[str, Any] = {} if user is None else {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    folder = Path(tempfile.mkdtemp(prefix="parade-postgres-"))  # short: the path of a socket holds about 100 characters
    try:
        if user is not None:
            os.chown(folder, user.pw_uid, user.pw_gid)
        _initialise(programs, folder, as_user)
        running = _Running(programs, folder, as_user)
        try:
            running.start()
            yield PostgresServer(folder, running)
        finally:
            running.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _initialise(programs: Path, folder: Path, as_user: dict[str, Any]) -> None:
    result = subprocess.run(
        [
            programs / "initdb",
            f"--pgdata={folder / 'data'}",
            f"--username={SUPERUSER}",
            "--auth=trust",
            "--encoding=UTF8",
            "--no-locale",
            "--no-sync",
        ],
        cwd=folder,
        capture_output=True,
        check=False,
        timeout=START_TIMEOUT,
        **as_user,
    )
    if result.returncode != 0:
        raise RuntimeError(f"initdb failed: {result.stderr.decode(errors='replace')}")


class _Running:
    """The process of a server."""

    def __init__(self, programs: Path, folder: Path, as_user: dict[str, Any]) -> None:
        self._programs = programs
        self._folder = folder
        self._as_user = as_user
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self._folder),
            "fsync": "off",
            "synchronous_commit": "off",
            "full_page_writes": "off",
            "shared_buffers": "16MB",
            "max_connections": "60",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        log = self._folder / "server.log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [self._programs / "postgres", "-D", self._folder / "data", *options],
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # an interrupt at the keyboard is for the tests, which then stop the server
                **self._as_user,
            )
        _wait_until_ready(self._programs, self._folder, self._process, log)

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGINT)  # a "fast shutdown": transactions are aborted, files are left in order
        try:
            process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_ready(programs: Path, folder: Path, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline and process.poll() is None:
        probe = [str(programs / "pg_isready"), "--quiet", f"--host={folder}"]
        if subprocess.run(probe, check=False, timeout=START_TIMEOUT).returncode == 0:
            return
        time.sleep(0.05)
    raise RuntimeError(f"PostgreSQL did not start: {log.read_text(errors='replace')}")


def _programs() -> Path | None:
    """Returns the folder of the newest PostgreSQL's programs; None where there is none."""
    installed = sorted(
        (path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/postgres")),
        key=lambda folder: float(folder.parent.name),
        reverse=True,
    )
    found = shutil.which("initdb")
    on_path = [Path(found).resolve().parent] if found else []
    return next((folder for folder in [*on_path, *installed] if (folder / "postgres").exists()), None)


def _user() -> pwd.struct_passwd | None:
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    return None
