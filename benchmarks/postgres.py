"""A PostgreSQL server to throw away: in a temporary folder, reached over a Unix socket there, and as durable as it comes.

PostgreSQL refuses to run as root; then it runs as the user `postgres`, or `nobody`.
"""

import asyncio
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Self

import asyncpg

START_TIMEOUT: Final = 60.0
"""Seconds that the server may take until it can be used."""
STOP_TIMEOUT: Final = 15.0
"""Seconds that it may take to stop; then it is killed, for what it holds is thrown away."""
SUPERUSER: Final = "parade"
DURABLE: Final[Mapping[str, str]] = {
    # They are what PostgreSQL comes with; they stand here because the figures are worth nothing without them.
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
}


class PostgresServer:
    """A server that runs for the time of a block."""

    def __init__(self, settings: Mapping[str, str] = DURABLE) -> None:
        """Takes what the server is told besides where it listens.

        Raises:
            FileNotFoundError: PostgreSQL is not installed.
        """
        programs = _programs()
        if programs is None:
            raise FileNotFoundError(missing())
        self._programs = programs
        self._folder = Path(tempfile.mkdtemp(prefix="parade-postgres-"))  # short: the path of a socket holds about 100 characters
        self._settings = {**settings, "listen_addresses": "", "unix_socket_directories": str(self._folder)}
        user = _user() if os.geteuid() == 0 else None
        self._as_user: dict[str, Any] = {}
        if user is not None:
            os.chown(self._folder, user.pw_uid, user.pw_gid)
            self._as_user = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Lays the server's files down and starts it.

        Raises:
            RuntimeError: It does not start; the message says why.
        """
        try:
            self._initialise()
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Stops the server and throws away what it holds."""
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def url(self, database: str) -> str:
        """Returns the URL of a database, as services are told it."""
        return f"postgresql://{SUPERUSER}@/{database}?host={self._folder}"

    def new_database(self, name: str) -> str:
        """Makes an empty database, in the place of one that there is, and returns its URL."""

        async def make() -> None:
            await self.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
            await self.execute(f"CREATE DATABASE {name}")

        asyncio.run(make())
        return self.url(name)

    async def execute(self, statement: str) -> None:
        """Executes a statement about the server as a whole, over a connection of its own: the server may be restarted in between."""
        connection = await asyncpg.connect(host=str(self._folder), user=SUPERUSER, database="postgres")
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    def start(self) -> None:
        """Starts the server and returns once it can be used.

        Raises:
            RuntimeError: It does not start; the message holds its log.
        """
        options = [part for name, value in self._settings.items() for part in ("-c", f"{name}={value}")]
        log = self._folder / "server.log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [self._programs / "postgres", "-D", self._folder / "data", *options],
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # an interrupt at the keyboard is for who uses the server, and then stops it
                **self._as_user,
            )
        deadline = time.monotonic() + START_TIMEOUT
        probe = [str(self._programs / "pg_isready"), "--quiet", f"--host={self._folder}"]
        while subprocess.run(probe, check=False, timeout=START_TIMEOUT).returncode != 0:
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise RuntimeError(f"PostgreSQL did not start: {log.read_text(errors='replace')}")
            time.sleep(0.05)

    def stop(self) -> None:
        """Stops the server as its administrator does: transactions under way are lost, what was committed is kept."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGINT)  # a "fast shutdown": transactions are aborted, files are left in order
        try:
            process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _initialise(self) -> None:
        options = [f"--pgdata={self._folder / 'data'}", f"--username={SUPERUSER}", "--auth=trust", "--encoding=UTF8", "--no-locale"]
        if self._settings.get("fsync") == "off":
            options.append("--no-sync")
        command = [str(self._programs / "initdb"), *options]
        result = subprocess.run(command, cwd=self._folder, capture_output=True, check=False, timeout=START_TIMEOUT, **self._as_user)
        if result.returncode != 0:
            raise RuntimeError(f"initdb failed: {result.stderr.decode(errors='replace')}")


def missing() -> str:
    """Returns why PostgreSQL cannot be started here; empty where it can."""
    if _programs() is None:
        return "PostgreSQL is not installed: no `initdb` and `postgres` on PATH or in /usr/lib/postgresql"
    if os.geteuid() == 0 and _user() is None:
        return "PostgreSQL does not run as root, and there is no user `postgres` or `nobody` to run it as"
    return ""


def _programs() -> Path | None:
    """Returns the folder of PostgreSQL's programs, the newest where there are several; None where there is none."""
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: float(folder.parent.name), reverse=True)
    found = shutil.which("initdb")
    on_path = [Path(found).resolve().parent] if found else []
    return next((folder for folder in [*on_path, *installed] if (folder / "postgres").exists() and (folder / "initdb").exists()), None)


def _user() -> pwd.struct_passwd | None:
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    return None
