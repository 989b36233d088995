import json
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest

from parade.v1 import scheduler_pb2
from parade_gateway.openapi import document
from parade_gateway.routes import Routes, public_services
from parade_gateway.transcode import encode


@pytest.fixture(scope="module")
def routes() -> Routes:
    return Routes(public_services())


@pytest.fixture(scope="module")
def openapi(routes: Routes) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(json.dumps(document(routes)))
    return made


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for child in node.values():
            yield from references(child)
    elif isinstance(node, list):
        for child in node:
            yield from references(child)


def test_every_route_is_one_operation(openapi: dict[str, Any], routes: Routes) -> None:
    described = [(verb.upper(), path) for path, item in openapi["paths"].items() for verb in item]

    assert openapi["openapi"].startswith("3.1")
    artifacts = [("POST", "/v1/artifacts"), ("GET", "/v1/artifacts/{digest}")]
    assert sorted(described) == sorted([*((route.verb, route.template) for route in routes), *artifacts])
    assert len({operation["operationId"] for item in openapi["paths"].values() for operation in item.values()}) == len(described)


def test_every_operation_is_described_by_the_comment_of_its_rpc(openapi: dict[str, Any]) -> None:
    for path, item in openapi["paths"].items():
        for verb, operation in item.items():
            assert operation["summary"], (verb, path)
            assert "Called by" in operation["description"], (verb, path)


def test_every_reference_leads_somewhere(openapi: dict[str, Any]) -> None:
    for reference in references(openapi):
        place = openapi
        for part in reference.removeprefix("#/").split("/"):
            place = place[part]


def test_every_schema_is_a_json_schema(openapi: dict[str, Any]) -> None:
    for schema in openapi["components"]["schemas"].values():
        jsonschema_rs.Draft202012Validator({**schema, "components": openapi["components"]})


def test_path_and_query_parameters_come_from_the_request(openapi: dict[str, Any]) -> None:
    operation = openapi["paths"]["/v1/runs/{run_id}:watch"]["get"]

    named = {(parameter["in"], parameter["name"]) for parameter in operation["parameters"] if "name" in parameter}

    assert named == {("path", "run_id"), ("query", "after_sequence")}
    assert {"$ref": "#/components/parameters/LastEventId"} in operation["parameters"]


def test_what_stands_in_the_path_is_not_asked_for_in_the_body(openapi: dict[str, Any]) -> None:
    assert "workflow" not in openapi["components"]["schemas"]["StartRunRequest"]["properties"]
    assert "requestId" in openapi["components"]["schemas"]["StartRunRequest"]["properties"]


def test_a_stream_answers_with_events(openapi: dict[str, Any]) -> None:
    operation = openapi["paths"]["/v1/functions/{function}:stream"]["post"]

    assert list(operation["responses"]["200"]["content"]) == ["text/event-stream"]


def test_the_failures_that_a_comment_names_are_listed(openapi: dict[str, Any]) -> None:
    responses = openapi["paths"]["/v1/functions/{function}:call"]["post"]["responses"]

    assert responses["429"]["description"] == "NO_CAPACITY"
    assert "UNKNOWN_FUNCTION" in responses["404"]["description"]
    assert {"400", "401", "403", "500", "503", "504", "default"} <= responses.keys()


def test_what_is_written_fits_its_schema(openapi: dict[str, Any]) -> None:
    response = scheduler_pb2.GetRunResponse(run=scheduler_pb2.Run(id="r", labels={"a": "b"}, steps=[scheduler_pb2.StepRun(id="s")]))
    response.run.create_time.FromSeconds(1)
    response.run.inputs.data = b"[1]"
    validator = jsonschema_rs.Draft202012Validator(
        {"$ref": "#/components/schemas/GetRunResponse", "components": openapi["components"]}, validate_formats=True
    )

    assert [error.message for error in validator.iter_errors(json.loads(encode(response)))] == []
