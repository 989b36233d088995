import pytest
from google.api import annotations_pb2
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import ServiceDescriptor

from parade_gateway.errors import HttpError
from parade_gateway.routes import Routes, public_services


@pytest.fixture(scope="module")
def routes() -> Routes:
    return Routes(public_services())


def service_with(*rules: tuple[str, str, str]) -> ServiceDescriptor:
    """Makes a service with one method for every rule: its verb, path and body."""
    name = f"sample{abs(hash(rules))}"
    file = descriptor_pb2.FileDescriptorProto(name=f"{name}.proto", package=name, syntax="proto3")
    request = file.message_type.add(name="Request")
    request.field.add(
        name="name",
        number=1,
        type=descriptor_pb2.FieldDescriptorProto.TYPE_STRING,
        label=descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL,
    )
    service = file.service.add(name="Sample")
    for index, (verb, path, body) in enumerate(rules):
        method = service.method.add(name=f"Method{index}", input_type=f".{name}.Request", output_type=f".{name}.Request")
        rule = method.options.Extensions[annotations_pb2.http]
        setattr(rule, verb, path)
        rule.body = body
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return pool.FindServiceByName(f"{name}.Sample")


def test_every_public_method_has_exactly_one_route_and_no_other_has_one(routes: Routes) -> None:
    public = [
        method.full_name
        for service in public_services()
        for method in service.methods
        if method.GetOptions().HasExtension(annotations_pb2.http)
    ]

    assert sorted(route.method.full_name for route in routes) == sorted(public)
    assert len(public) == len(set(public)) >= 20


def test_every_route_is_found_by_its_own_path(routes: Routes) -> None:
    for route in routes:
        fields = {name: f"some.{name}-1" for name in route.path_fields}

        found, values = routes.find(route.verb, route.template.format(**fields))

        assert found is route
        assert values == fields


def test_a_verb_after_a_field_is_no_part_of_the_field(routes: Routes) -> None:
    found, values = routes.find("GET", "/v1/runs/run-1:wait")

    assert found.method.name == "WaitRun"
    assert values == {"run_id": "run-1"}


def test_a_field_is_percent_decoded_and_may_hold_a_slash_so(routes: Routes) -> None:
    _, values = routes.find("GET", "/v1/agents/a%2Fb%3A%C3%A9")

    assert values == {"name": "a/b:é"}


@pytest.mark.parametrize("path", ["/v1/agents/", "/v1/agents/a/b", "/v2/agents", "/v1/agents/a:nothing", "//v1/agents", ""])
def test_an_unknown_path_is_not_found(routes: Routes, path: str) -> None:
    with pytest.raises(HttpError) as caught:
        routes.find("GET", path)

    assert caught.value.status == 404


def test_a_wrong_method_is_told_the_right_ones(routes: Routes) -> None:
    with pytest.raises(HttpError) as caught:
        routes.find("DELETE", "/v1/workflows")

    assert caught.value.status == 405
    assert caught.value.headers == {"allow": "GET, POST"}


def test_two_methods_with_one_route_stop_the_start() -> None:
    service = service_with(("get", "/v1/a/{name}", ""), ("get", "/v1/a/{name}", ""))

    with pytest.raises(ValueError, match="same route"):
        Routes([service])


@pytest.mark.parametrize(
    ("verb", "path", "body"),
    [
        ("get", "/v1/{name=things/*}", ""),
        ("get", "/v1/{nothing}", ""),
        ("post", "/v1/a", "name"),
        ("get", "v1/a", ""),
    ],
)
def test_a_rule_of_a_form_that_is_not_served_stops_the_start(verb: str, path: str, body: str) -> None:
    with pytest.raises(ValueError, match="http rule"):
        Routes([service_with((verb, path, body))])


def test_the_service_behind_a_route_follows_from_its_contract(routes: Routes) -> None:
    assert {route.service for route in routes} <= {"agent_manager", "dispatcher", "scheduler", "monitor", "gateway"}


def test_only_numbered_streams_that_can_start_anywhere_resume(routes: Routes) -> None:
    assert [route.method.name for route in routes if route.resumes] == ["WatchRun"]


@pytest.mark.parametrize(
    ("verb", "path", "method", "fields"),
    [
        ("POST", "/v1/runs/run-1:pause", "PauseRun", {"run_id": "run-1"}),
        ("POST", "/v1/runs/run-1:resume", "ResumeRun", {"run_id": "run-1"}),
        ("POST", "/v1/runs/run-1:signal", "SignalRun", {"run_id": "run-1"}),
        ("POST", "/v1/runs/run-1:rerun", "RerunFromStep", {"run_id": "run-1"}),
        ("POST", "/v1/runs/run-1:fork", "ForkRun", {"run_id": "run-1"}),
        ("POST", "/v1/runs:cancel", "CancelRuns", {}),
        ("POST", "/v1/runs:rerun", "RerunRuns", {}),
        ("GET", "/v1/approvals", "ListApprovals", {}),
        ("POST", "/v1/runs/run-1/approvals/pay:resolve", "ResolveApproval", {"run_id": "run-1", "step": "pay"}),
    ],
)
def test_what_is_done_to_runs_has_its_paths(routes: Routes, verb: str, path: str, method: str, fields: dict[str, str]) -> None:
    found, values = routes.find(verb, path)

    assert (found.method.name, values) == (method, fields)
