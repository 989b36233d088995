"""Several instances of an agent on one machine: a process each, followed, restarted when one dies, stopped together."""

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
import time

STOP_MARGIN = 5.0
"""Seconds that a process gets to leave beside the time that its calls get to end."""
FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0
STEADY_AFTER = 60.0
"""Seconds of life after which a death counts as the first again."""
EXPLAINED = frozenset({0, 1, 2})
"""Exit statuses of a process that ended on purpose and has said why: starting it again would end the same."""
READ_SIZE = 64 * 1024
_PR_SET_PDEATHSIG = 1


def serve_instances(target: str, instances: int) -> int:
    """Serves an agent in `instances` processes until SIGTERM or Ctrl-C, and returns an exit status.

    Their output goes to standard error, each line with the instance's name before it. A process that dies is started again, after a pause
    that grows with each death. One that ends on purpose (an order to leave, a mesh that is not there, a target that is not usable) is not.

    Args:
        target: `module:agent`.
        instances: How many.

    Returns:
        0 where all of them left in good order, otherwise the highest status of one that did not.
    """
    return asyncio.run(_Supervisor(target).run(instances))


class _Supervisor:
    def __init__(self, target: str) -> None:
        self._target = target
        self._stopping = asyncio.Event()
        self._interrupts = 0
        self._processes: set[asyncio.subprocess.Process] = set()
        self._drain_timeout = 10.0

    async def run(self, instances: int) -> int:
        from parade.hosting.settings import Settings, SettingsError

        try:
            self._drain_timeout = Settings.from_environment().drain_timeout
        except SettingsError as error:
            sys.stderr.write(f"{error}\n")
            return 2
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._stopping.set)
        loop.add_signal_handler(signal.SIGINT, self._interrupted)
        async with asyncio.TaskGroup() as tasks:
            kept = [tasks.create_task(self._keep(f"{self._target.partition(':')[0]}-{number}")) for number in range(1, instances + 1)]
        return max(task.result() for task in kept)

    def _interrupted(self) -> None:
        # The terminal sends its interrupt to the instances too; a second one ends them at once.
        self._interrupts += 1
        self._stopping.set()
        if self._interrupts > 1:
            for process in self._processes:
                process.kill()

    async def _keep(self, name: str) -> int:
        """Keeps one instance running; returns its last exit status."""
        pause = FIRST_PAUSE
        while True:
            started = time.monotonic()
            status = await self._run_once(name)
            if self._stopping.is_set():
                return 0 if status in (0, -signal.SIGTERM, -signal.SIGINT) else abs(status)
            if status in EXPLAINED:
                self._say(name, f"has ended with status {status}")
                return status
            if time.monotonic() - started > STEADY_AFTER:
                pause = FIRST_PAUSE
            self._say(name, f"died ({_cause(status)}); starting it again in {pause:.1f} s")
            if await self._stopped_within(pause):
                return 0
            pause = min(LONGEST_PAUSE, pause * 2)

    async def _run_once(self, name: str) -> int:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "parade.serve",
            self._target,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            preexec_fn=_end_with_parent,
        )
        self._processes.add(process)
        try:
            async with asyncio.TaskGroup() as tasks:
                following = tasks.create_task(self._follow(name, process))
                stopping = tasks.create_task(self._stop_when_told(process))
                status = await process.wait()
                stopping.cancel()
                # What a child of the instance holds open would keep us reading after the instance's end.
                await asyncio.wait([following], timeout=1)
                following.cancel()
        finally:
            self._processes.discard(process)
            if process.returncode is None:
                process.kill()
        return status

    async def _stop_when_told(self, process: asyncio.subprocess.Process) -> None:
        await self._stopping.wait()
        process.terminate()
        await asyncio.sleep(self._drain_timeout + STOP_MARGIN)
        process.kill()

    async def _follow(self, name: str, process: asyncio.subprocess.Process) -> None:
        if process.stdout is None:
            raise RuntimeError("the process was started without a pipe for its output")
        rest = b""
        while chunk := await process.stdout.read(READ_SIZE):
            *lines, rest = (rest + chunk).split(b"\n")
            if len(rest) > READ_SIZE:
                lines, rest = [*lines, rest], b""
            for line in lines:
                self._say(name, line.decode(errors="replace"))
        if rest:
            self._say(name, rest.decode(errors="replace"))

    async def _stopped_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return False
        return True

    def _say(self, name: str, line: str) -> None:
        sys.stderr.write(f"{name} | {line}\n")
        sys.stderr.flush()


def _end_with_parent() -> None:
    # Linux only: a supervisor that is killed must not leave its instances behind.
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _cause(status: int) -> str:
    return signal.Signals(-status).name if status < 0 else f"status {status}"
