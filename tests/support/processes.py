"""The process around a service, made inside a test: real configuration, certificates, log and task group; no signals, no exit."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from parade.wire.certificates import FileSource
from parade.wire.identity import Identity
from parade.wire.roles import Role
from parade.wire.telemetry import Telemetry
from parade_chassis.config import ServiceConfig
from parade_chassis.grants import Granted, Grants
from parade_chassis.lifecycle import Process
from tests.support.certificates import Authority

ConfigT = TypeVar("ConfigT", bound=ServiceConfig)


class Everybody(Grants):
    """Grants by which every client is an admin, for tests of other things; what the process is told changes nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.told.set()

    def role_of(self, subject: str, namespace: str) -> Role:
        return Role.ADMIN

    def replace(self, picture: Iterable[Granted]) -> None:
        pass

    def put(self, granted: Granted) -> None:
        pass


@asynccontextmanager
async def process_of(
    service: str, config_type: type[ConfigT], authority: Authority, *, grants: Grants | None = None, **settings: Any
) -> AsyncIterator[Process[ConfigT]]:
    """Makes a process for the block; its background loops are cancelled at the end, and a loop that fails fails the block.

    Args:
        service: The service's name, for example `scheduler`.
        config_type: Its configuration.
        authority: Who signs its certificate.
        grants: What it knows of roles; every client is an admin where not given.
        settings: Its settings beside the certificates; the drain is short unless given.
    """
    files = authority.files(Identity.service(service))
    config = config_type(
        trust_bundle=files.trust_bundle,
        certificate=files.certificate,
        private_key=files.private_key,
        **{"drain_timeout": 1.0, "log_format": "console", **settings},
    )
    source = FileSource(files.trust_bundle, files.certificate, files.private_key)
    with Telemetry(service, config.instance_id) as telemetry:
        async with asyncio.TaskGroup() as tasks:
            process = Process(service, config, telemetry, source, tasks, asyncio.Event())
            process.grants = grants if grants is not None else Everybody()
            yield process
            process.end_background()
