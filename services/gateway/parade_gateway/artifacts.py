"""Artifacts to and from the event loop: the files in threads, a piece at a time, so that memory stays flat and nothing else waits."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from parade.wire.errors import ParadeError, Reason
from parade.wire.log import Log
from parade_chassis.clock import Clock
from parade_chassis.quotas import Quotas
from parade_gateway.artifact_store import PIECE_BYTES, ArtifactStore, Download, Reference, Upload
from parade_gateway.quotas import GatewayLimits

THREADS = 4
MAX_TRANSFERS = 64
"""Uploads and downloads at once; the rest are refused with NO_CAPACITY."""
SILENCE = 60.0
"""Seconds that the next piece of an upload may take."""
LONGEST_SWEEP_INTERVAL = 3600.0
SWEEP_PAUSE = 0.2
"""Seconds between two steps of a sweep, each of which looks at some files."""

ResultT = TypeVar("ResultT")


class Artifacts:
    """The artifacts that this gateway keeps; where it was given no folder, every request for one is refused."""

    def __init__(self, folder: Path | None, limit: int, retention: float, quotas: Quotas[GatewayLimits], clock: Clock, log: Log) -> None:
        """Takes what the configuration says.

        Args:
            folder: Where the files lie.
            limit: How many bytes one artifact may have.
            retention: Seconds that an artifact is kept after it was last stored.
            quotas: How much each namespace may have.
            clock: What time it is.
            log: Told of what was removed.
        """
        self._kept = ArtifactStore(folder, limit, quotas) if folder is not None else None
        self._retention = retention
        self._log = log
        self._clock = clock
        self._threads = ThreadPoolExecutor(THREADS, "artifacts")
        self._transfers = 0

    async def __aenter__(self) -> Self:
        """Returns itself; at the end of the block what the threads still have to do is waited for."""
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Ends the threads."""
        await asyncio.to_thread(self._threads.shutdown)

    async def find(self, namespace: str, announced: Reference) -> Reference | None:
        """Returns an artifact that is stored already, which counts as stored now; None where it is not.

        Raises:
            ParadeError: INVALID_ARGUMENTS where what is said of it cannot be.
        """
        return await self._run(self._store.find, namespace, announced)

    async def put(self, namespace: str, announced: Reference, pieces: AsyncIterable[bytes]) -> Reference:
        """Stores what comes. Nothing is left of an upload that breaks.

        Args:
            namespace: Whose it is.
            announced: What is said of it: checked where it is said.
            pieces: The bytes, in order.

        Raises:
            ParadeError: INVALID_ARGUMENTS where it is not what was said or too large; NO_CAPACITY where the disk is full, or the
                namespace has as much as it may; DEADLINE_EXCEEDED where nothing came for `SILENCE` seconds.
        """
        store = self._store
        self._enter()
        upload = None
        try:
            upload = await self._opened(Upload.discard, store.begin, namespace, announced)
            gathered = bytearray()
            async for piece in _timely(pieces):
                gathered += piece
                if len(gathered) >= PIECE_BYTES:
                    await self._run(upload.write, bytes(gathered))
                    gathered.clear()
            await self._run(upload.write, bytes(gathered))
            return await self._run(upload.finish)
        finally:
            self._transfers -= 1
            if upload is not None:
                self._threads.submit(upload.discard)

    async def open(self, namespace: str, digest: str) -> "Reading":
        """Opens an artifact; its reader closes it.

        Raises:
            ParadeError: NOT_FOUND where the namespace has none of this digest; INVALID_ARGUMENTS where it is no digest.
        """
        store = self._store
        self._enter()
        try:
            return Reading(await self._opened(Download.close, store.open, namespace, digest), self._run, self._close)
        except BaseException:
            self._transfers -= 1
            raise

    async def sweep(self) -> None:
        """Removes, for as long as it runs, what has been kept for its time."""
        while True:
            await self._clock.sleep(min(LONGEST_SWEEP_INTERVAL, max(1.0, self._retention / 10)))
            if self._kept is not None:
                await self._sweep(self._kept.sweep(self._clock.now().timestamp() - self._retention))

    async def _sweep(self, steps: Iterator[int]) -> None:
        removed = 0
        while (count := await self._run(next, steps, None)) is not None:
            removed += count
            await self._clock.sleep(SWEEP_PAUSE)
        if removed:
            self._log.info("artifacts removed after their time", count=removed)

    @property
    def _store(self) -> ArtifactStore:
        if self._kept is None:
            raise ParadeError(
                Reason.FAILED_PRECONDITION, "this gateway keeps no artifacts; PARADE_GATEWAY_ARTIFACTS names a folder for them"
            )
        return self._kept

    def _enter(self) -> None:
        if self._transfers >= MAX_TRANSFERS:
            raise ParadeError(Reason.NO_CAPACITY, "too many artifacts are under way; try again", metadata={"retry_after": "1s"})
        self._transfers += 1

    def _close(self, download: Download) -> None:
        self._transfers -= 1
        self._threads.submit(download.close)

    async def _opened(self, undo: Callable[[ResultT], None], work: Callable[..., ResultT], *arguments: Any) -> ResultT:
        """Runs in a thread what opens a file. One that is open only when nobody waits any more is put away by `undo`."""
        opening = self._threads.submit(work, *arguments)
        try:
            return await asyncio.wrap_future(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(lambda done: _undo(done, undo))
            raise

    async def _run(self, work: Callable[..., ResultT], *arguments: Any) -> ResultT:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)


class Reading:
    """An artifact that is being read."""

    def __init__(self, download: Download, run: Callable[..., Any], close: Callable[[Download], None]) -> None:
        """Takes the open file and how to reach it; made by `Artifacts.open`."""
        self._download = download
        self._run = run
        self._close = close
        self.reference = download.reference

    async def pieces(self, offset: int = 0) -> AsyncGenerator[bytes]:
        """Yields the bytes from an offset on, as they are taken, in pieces of at most 256 KiB."""
        while piece := await self._run(self._download.read, offset):
            offset += len(piece)
            yield piece

    async def __aenter__(self) -> Self:
        """Returns itself; the file is closed at the end of the block."""
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Closes the file."""
        self._close(self._download)


def _undo(done: Future[ResultT], undo: Callable[[ResultT], None]) -> None:
    if not done.cancelled() and done.exception() is None:
        undo(done.result())


async def _timely(pieces: AsyncIterable[bytes]) -> AsyncGenerator[bytes]:
    iterator = aiter(pieces)
    while True:
        try:
            async with asyncio.timeout(SILENCE):
                piece = await anext(iterator, None)
        except TimeoutError as error:
            raise ParadeError(Reason.DEADLINE_EXCEEDED, f"nothing came for {SILENCE:.0f} seconds") from error
        if piece is None:
            return
        yield piece
