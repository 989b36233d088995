"""The gateway process: REST and Server-Sent Events in front of the mesh."""

import asyncio
from contextlib import suppress

from parade.wire.identity import Identity
from parade_chassis.access import AccessWatch
from parade_chassis.lifecycle import Process, run
from parade_chassis.server import running
from parade_gateway import pages
from parade_gateway.api import Api
from parade_gateway.artifact_http import ArtifactHttp
from parade_gateway.artifact_rights import ArtifactRights
from parade_gateway.artifacts import Artifacts
from parade_gateway.authentication import Keys
from parade_gateway.callers import Callers
from parade_gateway.calls import BATCH_CALL, CALL, CALL_STREAM, Calls
from parade_gateway.config import Config
from parade_gateway.edge import Edge, with_cors
from parade_gateway.endpoints import Endpoints, Handler
from parade_gateway.guard import Guard
from parade_gateway.refused import Refused
from parade_gateway.routes import Routes, public_services
from parade_gateway.server import listen, serving
from parade_gateway.servicer import GatewayServicer
from parade_gateway.signing_keys import SigningKeys
from parade_gateway.strangers import Strangers
from parade_gateway.tokens import Tokens
from parade_gateway.transcoded import Transcoded
from parade_gateway.upstream import Upstream

new_event_loop = asyncio.new_event_loop
with suppress(ImportError):  # it is not made for every platform
    from uvloop import new_event_loop


async def serve(process: Process[Config]) -> None:
    """Serves until the process is asked to end."""
    config = process.config
    closing = asyncio.Event()
    routes = Routes(public_services())
    guard = Guard(config.rest_listen, config.hosts, config.cors_origins)
    artifacts = Artifacts(config.artifacts, config.artifact_limit, config.artifact_retention, config.limits(), process.clock, process.log)
    rights = ArtifactRights(process.policies, process.standing)
    with listen(config.rest_listen) as opened:
        async with Upstream(process) as upstream, artifacts, running(process, GatewayServicer(artifacts, rights)):
            if config.agent_manager:
                process.background(AccessWatch(process, upstream.channel("agent_manager")).follow(), "access watch")
            process.background(artifacts.sweep(), "artifact sweep")
            calls = Calls(upstream, artifacts, rights, closing)
            handlers: dict[str, Handler] = {route.rpc: Transcoded(route, upstream, closing) for route in routes}
            handlers |= {CALL: calls.call, CALL_STREAM: calls.stream, BATCH_CALL: calls.batch}
            refused = Refused(upstream.report, Identity.service("gateway", config.domain), process.clock, process.log)
            process.background(refused.keep(), "audit")
            endpoints = Endpoints(routes, handlers, ArtifactHttp(artifacts, rights).routes)
            callers = Callers(Keys(upstream.authenticate, process.clock), _tokens(process), process.grants)
            api = Api(process, endpoints, callers, refused)
            process.background(api.end_revoked(), "revocation")
            edge = Edge(guard, pages.routes(routes, closing, config.login()), api)
            async with serving(process, opened, with_cors(edge, config.cors_origins), closing):
                await process.stopped()
            await refused.end()


def _tokens(process: Process[Config]) -> Tokens | None:
    """Returns what knows the tokens of people; None where nobody logs in."""
    config, clock = process.config, process.clock
    if not config.oidc_issuer:
        return None
    keys = SigningKeys(config.oidc_issuer, process.tasks, clock, process.log)
    return Tokens(config.oidc_issuer, config.oidc_audience, keys, Strangers(clock), clock)


if __name__ == "__main__":
    run("gateway", Config, serve, new_event_loop)
