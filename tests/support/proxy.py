"""A TCP proxy that can be cut: what is in between two processes, to take away."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class Proxy:
    """Forwards connections to a port until it is told otherwise."""

    def __init__(self) -> None:
        """Starts out nowhere; see `proxied`."""
        self.port = 0
        self.target = 0
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._pairs: set[asyncio.Task[None]] = set()

    def cut(self) -> None:
        """Loses everything from now on, without a word to either side: connections stay open and new ones are taken and not served."""
        self._flowing.clear()

    def mend(self) -> None:
        """Forwards again, beginning with what waits."""
        self._flowing.set()

    def strand(self) -> None:
        """Loses everything from now on that goes over a connection there is, without a word to either side; new ones are served."""
        self._flowing.clear()
        self._flowing = asyncio.Event()
        self._flowing.set()

    def reset(self) -> None:
        """Breaks every connection; new ones are served."""
        for pair in self._pairs:
            pair.cancel()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forwards one connection."""
        task = asyncio.current_task()
        assert task is not None
        self._pairs.add(task)
        flowing = self._flowing
        try:
            await flowing.wait()
            there, back = await asyncio.open_connection("127.0.0.1", self.target)
            try:
                async with asyncio.TaskGroup() as both:
                    both.create_task(self._forward(reader, back, flowing))
                    both.create_task(self._forward(there, writer, flowing))
            finally:
                back.transport.abort()
        except (OSError, ExceptionGroup, asyncio.CancelledError):
            pass
        finally:
            self._pairs.discard(task)
            writer.transport.abort()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, flowing: asyncio.Event) -> None:
        while data := await reader.read(65536):
            await flowing.wait()
            writer.write(data)
            await writer.drain()
        with suppress(OSError):
            writer.write_eof()

    async def close(self) -> None:
        """Breaks everything."""
        self._flowing.set()
        self.reset()
        if self._pairs:
            await asyncio.wait(self._pairs, timeout=2)


@asynccontextmanager
async def proxied(target: int = 0) -> AsyncIterator[Proxy]:
    """Runs a proxy for the block; `target` is the port behind it, which may be told later."""
    proxy = Proxy()
    proxy.target = target
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        await proxy.close()
