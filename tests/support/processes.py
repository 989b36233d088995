"""The process around a service, made inside a test: real configuration, certificates, log and task group; no signals, no exit."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from parade.wire.certificates import FileSource
from parade.wire.identity import Identity
from parade.wire.telemetry import Telemetry
from parade_chassis.config import ServiceConfig
from parade_chassis.grants import Grants
from parade_chassis.lifecycle import Process
from parade_chassis.standing import Standing
from tests.support.certificates import Authority
from tests.support.standing import Everybody, Everyone

ConfigT = TypeVar("ConfigT", bound=ServiceConfig)


@asynccontextmanager
async def process_of(
    service: str, config_type: type[ConfigT], authority: Authority, *, grants: Grants | None = None, **settings: Any
) -> AsyncIterator[Process[ConfigT]]:
    """Makes a process for the block; its background loops are cancelled at the end, and a loop that fails fails the block.

    Args:
        service: The service's name, for example `scheduler`.
        config_type: Its configuration.
        authority: Who signs its certificate.
        grants: What it knows of roles; where not given every client is an admin, everybody may everything, and there are no policies.
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
            if grants is None:
                process.grants, process.standing = Everybody(), Everyone()
            else:
                process.grants = grants
                process.standing = Standing(grants, process.revocations, config.domain, lambda: process.clock.now().timestamp())
            process.policies.replace([])
            yield process
            process.end_background()
