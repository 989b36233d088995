"""The HTTP server inside the process: uvicorn without its signal handlers, its logs and its ticking, ended with the process."""

import asyncio
import logging
import socket
import ssl
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from parade.wire.certificates import Certificates, write_private
from parade_chassis.lifecycle import Process
from parade_gateway.config import Config
from parade_gateway.connection import HttpConnection
from parade_gateway.guard import host_name, is_loopback

KEEP_ALIVE = 65
"""Seconds that an idle connection stays open, longer than proxies in front keep theirs."""
BACKLOG = 1024
"""Connections that may wait to be taken."""
CERTIFICATE_CHECK = 60.0
"""Seconds after which a new certificate is taken up at the latest."""


def listen(address: str) -> socket.socket:
    """Opens the port, so that who connects from now on is waited for.

    Raises:
        OSError: The address cannot be listened on.
    """
    host, port = host_name(address), int(address.rpartition(":")[2])
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named, as asyncio switches off Nagle's algorithm only then, and every answer would wait 40 ms for an acknowledgement.
    opened = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.setblocking(False)
        opened.bind((host, port))
        opened.listen(BACKLOG)
    except OSError:
        opened.close()
        raise
    return opened


def url_of(opened: socket.socket, address: str) -> str:
    """Returns the URL of an open port."""
    scheme = "http" if is_loopback(address) else "https"
    return f"{scheme}://{address.rpartition(':')[0]}:{opened.getsockname()[1]}"


@asynccontextmanager
async def serving(process: Process[Config], opened: socket.socket, app: ASGIApp, closing: asyncio.Event) -> AsyncIterator[None]:
    """Serves HTTP while the block runs. At its end streams end at once, and other requests may finish within `drain_timeout`.

    Args:
        process: The process that serves.
        opened: The port, from `listen`.
        app: What is served.
        closing: Set at the end of the block.
    """
    settings = process.config
    plain = is_loopback(settings.rest_listen)
    logging.getLogger("uvicorn").setLevel(logging.CRITICAL)  # what matters of a request, `api` logs
    config = uvicorn.Config(
        app,
        http=HttpConnection,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=max(1, round(settings.drain_timeout)),
        ssl_certfile=None if plain else settings.certificate,
        ssl_keyfile=None if plain else settings.private_key,
    )
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    # Not `serve`: it takes the signals, which are the process's own, and wakes up ten times a second.
    await server.startup(sockets=[opened])
    process.log.info("serving rest", url=url_of(opened, settings.rest_listen))
    if config.ssl is not None:
        process.background(_renew(process, config), "certificate renewal")
    try:
        yield
    finally:
        closing.set()
        await server.shutdown(sockets=[opened])


async def _renew(process: Process[Config], config: uvicorn.Config) -> None:
    shown = process.certificates.current()
    while config.ssl is not None:
        await process.clock.sleep(CERTIFICATE_CHECK)
        newest = process.certificates.current()
        if newest is not shown:
            _show(config.ssl, newest)
            shown = newest


def _show(context: ssl.SSLContext, certificates: Certificates) -> None:
    """Shows a certificate from now on. It goes by a file of its own: those of the process may be replaced between two looks at them."""
    with tempfile.TemporaryDirectory(prefix="parade-") as folder:
        pair = Path(folder) / "pair.pem"
        write_private(pair, certificates.certificate_chain + certificates.private_key)
        context.load_cert_chain(pair)
