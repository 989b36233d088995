"""What the OpenAPI document says of artifacts, whose bytes travel as no contract can describe."""

from collections.abc import Callable
from typing import Any

from parade.v1 import value_pb2
from parade_gateway.schema import Schemas

PATH = "/v1/artifacts"


def operations(schemas: Schemas, failures: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
    """Returns what the OpenAPI document says of these paths, which no contract describes."""
    binary = {"schema": {"type": "string", "format": "binary"}}
    digest = {"type": "string", "pattern": "^sha256:[0-9a-f]{64}$"}
    put = {
        "operationId": "GatewayService_PutArtifact",
        "tags": ["GatewayService"],
        "summary": "Stores bytes under their hash.",
        "description": "The body is the artifact, of at most 1 GiB, and its `Content-Type` is kept with it. "
        "The same bytes are stored once. "
        "Called by whoever holds an API key with the role `developer`.",
        "parameters": [{"name": "digest", "in": "query", "description": "What the bytes must have as their digest.", "schema": digest}],
        "requestBody": {"content": {"application/octet-stream": binary}},
        "responses": {
            "200": {
                "description": "What was stored.",
                "content": {"application/json": {"schema": schemas.message(value_pb2.ArtifactReference.DESCRIPTOR)}},
            },
            **failures("INVALID_ARGUMENTS, FAILED_PRECONDITION, NO_CAPACITY"),
        },
    }
    get = {
        "operationId": "GatewayService_GetArtifact",
        "tags": ["GatewayService"],
        "summary": "Returns the bytes of an artifact.",
        "description": "They come with the `Content-Type` that they were stored with. "
        "Called by whoever holds an API key with the role `viewer`.",
        "parameters": [{"name": "digest", "in": "path", "required": True, "description": "The artifact's digest.", "schema": digest}],
        "responses": {
            "200": {"description": "The bytes.", "content": {"application/octet-stream": binary}},
            **failures("NOT_FOUND, INVALID_ARGUMENTS, FAILED_PRECONDITION, NO_CAPACITY"),
        },
    }
    return {PATH: {"post": put}, f"{PATH}/{{digest}}": {"get": get}}
