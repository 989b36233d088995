"""Artifacts over HTTP: their bytes as they are, in either direction, never whole in memory."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import aclosing
from urllib.parse import parse_qsl

from parade.v1 import gateway_pb2, value_pb2
from parade.wire.errors import Violation, invalid
from parade_gateway.answer import Answer
from parade_gateway.artifact_paths import PATH
from parade_gateway.artifact_rights import ArtifactRights
from parade_gateway.artifact_store import Reference, TooLargeError
from parade_gateway.artifacts import Artifacts
from parade_gateway.caller import Caller
from parade_gateway.endpoints import OwnRoute
from parade_gateway.request import Request, left
from parade_gateway.sse import SEND_TIMEOUT
from parade_gateway.transcode import encode

_GUARDED = (
    (b"cache-control", b"private, max-age=31536000, immutable"),  # another content has another digest
    (b"content-disposition", b"attachment"),
    (b"content-security-policy", b"sandbox; default-src 'none'"),  # what agents store must never run in a page of ours
    (b"x-content-type-options", b"nosniff"),
)

_METHODS = gateway_pb2.DESCRIPTOR.services_by_name["GatewayService"].methods_by_name


class ArtifactHttp:
    """The handlers."""

    def __init__(self, artifacts: Artifacts, rights: ArtifactRights) -> None:
        """Takes the artifacts, and who may have which."""
        self._artifacts = artifacts
        self._rights = rights
        self.routes = (
            OwnRoute("POST", PATH, re.compile(re.escape(PATH)), self.put, _METHODS["PutArtifact"]),
            OwnRoute("GET", f"{PATH}/{{digest}}", re.compile(rf"{re.escape(PATH)}/(?P<digest>[^/]+)"), self.get, _METHODS["GetArtifact"]),
        )

    async def put(self, request: Request, answer: Answer) -> None:
        """Stores the body."""
        said = dict(parse_qsl(request.scope["query_string"].decode("latin-1"), keep_blank_values=True))
        unknown = [Violation(name, "there is no such parameter. There is: digest.") for name in said if name != "digest"]
        if unknown:
            raise invalid(unknown)
        length = request.headers.get("content-length", "")
        announced = Reference(said.get("digest", ""), int(length) if length.isdecimal() else 0, request.headers.get("content-type", ""))
        self._demand("write", request.caller, announced.digest)
        try:
            stored = await self._artifacts.put(request.caller.namespace, announced, _pieces(request))
        except TooLargeError as error:
            raise await request.too_large(error.limit) from error
        message = value_pb2.ArtifactReference(digest=stored.digest, size=stored.size, media_type=stored.media_type)
        await answer.json(encode(message))

    async def get(self, request: Request, answer: Answer) -> None:
        """Answers with an artifact's bytes."""
        self._demand("read", request.caller, request.fields["digest"])
        async with await self._artifacts.open(request.caller.namespace, request.fields["digest"]) as reading:
            headers = [
                (b"content-type", reading.reference.media_type.encode()),
                (b"content-length", b"%d" % reading.reference.size),
                *_GUARDED,
            ]
            await answer({"type": "http.response.start", "status": 200, "headers": headers})
            async with aclosing(reading.pieces()) as pieces:
                async for piece in pieces:
                    if request.connection.lost:
                        raise left()
                    async with asyncio.timeout(SEND_TIMEOUT):
                        await answer({"type": "http.response.body", "body": piece, "more_body": True})
            await answer({"type": "http.response.body", "body": b""})

    def _demand(self, action: str, caller: Caller, digest: str) -> None:
        self._rights.demand(action, caller.namespace, caller.principal, caller.role, digest)


async def _pieces(request: Request) -> AsyncIterator[bytes]:
    more = True
    while more:
        piece, more = await request.piece()
        yield piece
