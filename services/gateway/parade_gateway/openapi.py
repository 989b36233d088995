"""The OpenAPI 3.1 document of the gateway, made from the contracts and their comments.

Source of the format: https://spec.openapis.org/oas/v3.1.0. Nothing is used of what 3.1 added, so that readers of 3.0 understand the
document too.
"""

import re
from importlib import metadata
from typing import Any

from parade.v1 import gateway_pb2
from parade.wire.errors import Reason
from parade.wire.status import CODES
from parade_gateway import artifact_paths, deadline, query
from parade_gateway.comments import Comments
from parade_gateway.errors import HTTP_STATUSES
from parade_gateway.routes import Route, Routes
from parade_gateway.schema import REFERENCE, Schemas

_ABOUT = """REST and Server-Sent Events for every public RPC of Parade. This page is made from the contracts.

JSON follows [the mapping of proto3](https://protobuf.dev/programming-guides/json/): fields are in camelCase and may be sent as in the
contract, times are RFC 3339, durations `"5s"`. Arguments, results, inputs and outputs stand in the document as their own JSON. A field
that does not exist is refused. Streams are Server-Sent Events: each `message` event holds one JSON document, and a failure is one `error`
event."""

_ALWAYS = (Reason.UNAUTHENTICATED, Reason.PERMISSION_DENIED, Reason.INTERNAL, Reason.UNAVAILABLE, Reason.DEADLINE_EXCEEDED)
"""Why any request can fail, whatever its comment says."""

SEPARATOR = "\n\n"
"""What stands between the summary of a comment and the rest."""

_BEARER = """An API key, `parade_…`, or the token of a person that the configured OpenID Connect issuer has made. A person acts in the
namespace `default`, or in the one that the header `x-parade-namespace` names."""

_ERROR = {
    "type": "object",
    "description": "A failure, as `google.rpc.Status` in JSON.",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "status", "message", "details"],
            "properties": {
                "code": {"type": "integer", "description": "The HTTP status."},
                "status": {"type": "string", "description": "The name of the gRPC code.", "example": "INVALID_ARGUMENT"},
                "message": {"type": "string", "description": "What happened, and what to do about it."},
                "details": {
                    "type": "array",
                    "description": "`google.rpc.ErrorInfo` with the `reason`; `google.rpc.BadRequest` with every fault.",
                    "items": {
                        "type": "object",
                        "required": ["@type"],
                        "properties": {"@type": {"type": "string"}},
                        "additionalProperties": True,
                    },
                },
            },
        }
    },
}
_TIMEOUT = {
    "name": deadline.HEADER,
    "in": "header",
    "description": "How long the request may take, as `5s` or `250ms`.",
    "schema": {"type": "string", "pattern": r"^\d+(\.\d+)?(ms|s)?$"},
}
_LAST_EVENT = {
    "name": "Last-Event-ID",
    "in": "header",
    "description": "The id of the last event received, which browsers send when they connect again. Stands above `after_sequence`.",
    "schema": {"type": "string", "format": "int64"},
}


def document(routes: Routes) -> dict[str, Any]:
    """Returns the document."""
    comments = Comments()
    schemas = Schemas(comments)
    schemas.components["Failure"] = _ERROR
    paths: dict[str, dict[str, Any]] = {}
    services = {}
    for route in routes:
        service = route.method.containing_service
        services[service.name] = comments.of(service.full_name)
        paths.setdefault(route.template, {})[route.verb.lower()] = _operation(route, comments, schemas)
    service = gateway_pb2.DESCRIPTOR.services_by_name["GatewayService"]
    services[service.name] = comments.of(service.full_name)
    paths.update(artifact_paths.operations(schemas, _failures))
    return {
        "openapi": "3.1.0",
        "info": {"title": "Parade", "version": metadata.version("parade-gateway"), "description": _ABOUT},
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": text} for name, text in services.items()],
        "security": [{"bearer": []}, {"key": []}],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(schemas.components.items())),
            "parameters": {"Timeout": _TIMEOUT, "LastEventId": _LAST_EVENT},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": _BEARER},
                "key": {"type": "apiKey", "in": "header", "name": "x-api-key", "description": "An API key, `parade_…`."},
            },
        },
    }


def _operation(route: Route, comments: Comments, schemas: Schemas) -> dict[str, Any]:
    comment = comments.of(route.method.full_name)
    operation: dict[str, Any] = {
        "operationId": f"{route.method.containing_service.name}_{route.method.name}",
        "tags": [route.method.containing_service.name],
        "summary": comment.partition(SEPARATOR)[0].replace("\n", " "),
        "description": f"{comment.partition(SEPARATOR)[2]}{SEPARATOR}Needs the role `{route.role.label}` in the namespace.".lstrip(),
        "parameters": _parameters(route, schemas),
        "responses": {"200": _answer(route, schemas), **_failures(comment)},
    }
    if route.has_body:
        schema = schemas.message(route.method.input_type, route.path_fields)
        operation["requestBody"] = {"content": {"application/json": {"schema": schema}}}
    if route.streams:
        operation["responses"]["204"] = {"description": "The stream has ended without a message: there is nothing more to come."}
    return operation


def _parameters(route: Route, schemas: Schemas) -> list[dict[str, Any]]:
    listed = [
        _parameter(name, "path", schemas.field(route.method.input_type.fields_by_name[name])) | {"required": True}
        for name in route.path_fields
    ]
    if not route.has_body:
        fields = query.parameters(route.method.input_type, route.path_fields)
        listed += [_parameter(name, "query", schemas.field(field)) for name, field in fields.items()]
    listed.append({"$ref": "#/components/parameters/Timeout"})
    if route.resumes:
        listed.append({"$ref": "#/components/parameters/LastEventId"})
    return listed


def _parameter(name: str, place: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": place, "description": schema.pop("description", ""), "schema": schema}


def _answer(route: Route, schemas: Schemas) -> dict[str, Any]:
    schema = schemas.message(route.method.output_type)
    if not route.streams:
        return {"description": "The answer.", "content": {"application/json": {"schema": schema}}}
    return {
        "description": "A stream of events; the `data` of each is one such document.",
        "content": {"text/event-stream": {"schema": schema}},
    }


def _failures(comment: str) -> dict[str, Any]:
    """Returns the failures that a comment names, and those of any request, by HTTP status."""
    reasons = [reason for reason in Reason if reason in _ALWAYS or re.search(rf"\b{reason.value}\b", comment)]
    by_status: dict[int, list[str]] = {400: [Reason.INVALID_ARGUMENTS.value]}
    for reason in reasons:
        listed = by_status.setdefault(HTTP_STATUSES[CODES[reason]], [])
        if reason.value not in listed:
            listed.append(reason.value)
    content = {"application/json": {"schema": {"$ref": f"{REFERENCE}Failure"}}}
    named = {str(status): {"description": ", ".join(by_status[status]), "content": content} for status in sorted(by_status)}
    return {**named, "default": {"description": "Any other failure.", "content": content}}
