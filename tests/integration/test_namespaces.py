"""Nobody reaches what another namespace has: every field of every request that names something is asked for with another's names.

What is answered must be what is answered for a name that nobody has, and must hold nothing of the other namespace; afterwards everything of
that namespace stands as before. The tables are written by hand, so that a field that comes to the contract is looked at.

One file, though a long one: the tables are of no use without what walks them.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx
import pytest
from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message

from parade.v1 import access_pb2
from parade.v1.session_pb2 import SessionCall
from parade.wire.errors import Reason
from parade.wire.identity import Identity
from parade.wire.mesh_file import MeshFile
from parade.wire.metadata import on_behalf_of
from parade.wire.roles import Role
from parade_gateway.routes import Route, Routes, public_services
from tests.support import tenants
from tests.support.asking import METHODS, Answer, Ports, admits, message_class
from tests.support.tenants import AGENT, CLIENT, RIVAL, Things

pytestmark = pytest.mark.timeout(240)

CALLED = {"function": "worker.nap", "arguments": {"data": "eyJzZWNvbmRzIjogMH0=", "mediaType": "application/json"}}
RUN = "r-of-nobody"
QUESTION = {"principal": CLIENT.uri, "action": "call", "resource": "worker.nap"}
RULES = 'forbid (principal, action == Parade::Action::"publish", resource == Parade::Topic::"nothing");'
USABLE: dict[str, dict[str, Any]] = {
    "AgentManagerService.CreateJoinToken": {"agent": "worker"},
    "AgentManagerService.DrainInstance": {"agent": "worker", "instanceId": "i-of-nobody"},
    "AuditService.ListAudit": {"service": "agent_manager"},
    "DispatcherService.BatchCall": {"calls": [CALLED]},
    "DispatcherService.Call": CALLED,
    "DispatcherService.CallStream": CALLED,
    "DispatcherService.StartCall": CALLED,
    "KeyService.CreateKey": {"name": "made", "role": "ROLE_VIEWER"},
    "KeyService.GrantRole": {"subject": Identity.client("ada", RIVAL).uri, "role": "ROLE_VIEWER"},
    "KeyService.RevokeRole": {"subject": Identity.client("bob", RIVAL).uri},
    "MonitorService.TailLogs": {"last": 1000},
    "PolicyService.ExplainPolicy": {"question": QUESTION},
    "PolicyService.PutPolicy": {"name": "made", "text": RULES},
    "PolicyService.TestPolicy": {"cases": [{"question": QUESTION, "expected": "POLICY_EFFECT_ALLOW"}]},
    "SchedulerService.CancelRuns": {"filter": {"workflow": "none"}, "dryRun": True},
    "SchedulerService.ForkRun": {"runId": RUN, "afterSequence": "1", "requestId": "fork"},
    "SchedulerService.PublishEvent": {"type": "said"},
    "SchedulerService.PutSchedule": {"schedule": {"name": "yearly", "workflow": "own", "cron": "0 0 1 1 *"}},
    "SchedulerService.RerunFromStep": {"runId": RUN, "step": "say", "requestId": "rerun"},
    "SchedulerService.RerunRuns": {"filter": {"workflow": "none"}, "dryRun": True, "requestId": "reruns"},
    "SchedulerService.ResolveApproval": {"runId": RUN, "step": "sure", "approved": True},
    "SchedulerService.SignalRun": {"runId": RUN, "name": "go"},
    "SchedulerService.StartRun": {"workflow": "own"},
}
"""What a request needs beside the field that is looked at."""

NAMING = {
    "ArtifactReference.digest": "digest",
    "CallOptions.call_id": "ended_call",
    "CallOptions.functions": "function",
    "CallOptions.idempotency_key": "idempotency_key",
    "CallOptions.parent_call_id": "call",
    "CallOrigin.namespace": "namespace",
    "CallOrigin.principal": "client",
    "CallOrigin.run_id": "run",
    "CallRequest.function": "function",
    "CallStreamRequest.function": "function",
    "CancelCallRequest.call_id": "call",
    "CancelRunRequest.run_id": "run",
    "CheckWorkflowRequest.source": "source",
    "CreateJoinTokenRequest.agent": "agent",
    "CreateKeyRequest.namespace": "namespace",
    "DeleteScheduleRequest.name": "schedule",
    "DrainInstanceRequest.agent": "agent",
    "DrainInstanceRequest.instance_id": "instance",
    "ForkRunRequest.request_id": "request_id",
    "ForkRunRequest.run_id": "run",
    "GetAgentRequest.name": "agent",
    "DeletePolicyRequest.name": "policy",
    "GetArtifactRequest.digest": "digest",
    "GetCallApprovalRequest.approval_id": "approval",
    "GetPolicyRequest.name": "policy",
    "GetCallRequest.call_id": "call",
    "GetRunRequest.run_id": "run",
    "GetScheduleRequest.name": "schedule",
    "GetTraceRequest.trace_id": "trace",
    "GetWorkflowRequest.name": "workflow",
    "GrantRoleRequest.namespace": "namespace",
    "GrantRoleRequest.subject": "client",
    "ListApprovalsRequest.run_id": "run",
    "ListApprovalsRequest.workflow": "workflow",
    "ListAuditRequest.resource": "workflow",
    "ListAuditRequest.subject": "client",
    "ListCallApprovalsRequest.function": "function",
    "ListCallsRequest.function": "function",
    "ListCertificatesRequest.spiffe_id": "identity",
    "ListFunctionsRequest.agent": "agent",
    "ListKeysRequest.namespace": "namespace",
    "ListRolesRequest.namespace": "namespace",
    "ListRunsRequest.labels": "label",
    "ListRunsRequest.workflow": "workflow",
    "ListSchedulesRequest.workflow": "workflow",
    "LogFilter.contains": "mark",
    "LogFilter.instance_id": "instance",
    "LogFilter.run_id": "run",
    "LogFilter.service": "agent",
    "LogFilter.trace_id": "trace",
    "PauseAgentRequest.name": "agent",
    "PauseRunRequest.run_id": "run",
    "PolicyQuestion.principal": "client",
    "PolicyQuestion.resource": "function",
    "PublishEventRequest.event_id": "event",
    "PutPolicyRequest.name": "policy",
    "PutWorkflowRequest.source": "source",
    "RerunFromStepRequest.request_id": "request_id",
    "RerunFromStepRequest.run_id": "run",
    "RerunRunsRequest.request_id": "request_id",
    "ResolveApprovalRequest.run_id": "run",
    "ResolveCallApprovalRequest.approval_id": "approval",
    "ResumeAgentRequest.name": "agent",
    "ResumeRunRequest.run_id": "run",
    "RevokeCertificateRequest.serial": "serial",
    "RevokeCertificateRequest.spiffe_id": "identity",
    "RevokeKeyRequest.id": "key",
    "RevokeRoleRequest.namespace": "namespace",
    "RevokeRoleRequest.subject": "client",
    "RunFilter.labels": "label",
    "RunFilter.workflow": "workflow",
    "Schedule.last_run_id": "run",
    "Schedule.name": "schedule",
    "Schedule.workflow": "workflow",
    "SignalRunRequest.request_id": "request_id",
    "SignalRunRequest.run_id": "run",
    "StartCallRequest.function": "function",
    "StartRunRequest.request_id": "request_id",
    "StartRunRequest.workflow": "workflow",
    "StepReference.run_id": "run",
    "TestPolicyRequest.name": "policy",
    "WaitCallRequest.call_id": "call",
    "WaitRunRequest.run_id": "run",
    "WatchRunRequest.run_id": "run",
}
"""Every field that names something, and of what kind it is. A page's token is that of the method itself."""
PLAIN = {
    *("ArtifactReference.media_type", "AuditHead.hash", "CallOptions.affinity_key", "CallOptions.secrets", "CallOrigin.step"),
    *("CancelRunRequest.reason", "CancelRunsRequest.reason", "CreateKeyRequest.name", "EnrollRequest.csr", "ExportAuditRequest.service"),
    *("Function.description", "Function.name", "GetAuditCheckpointRequest.service", "ListAuditRequest.action", "ListAuditRequest.service"),
    *("PolicyCase.description", "PolicyCase.expected_rules", "PolicyQuestion.action", "PolicyQuestion.actors", "PolicyQuestion.effect"),
    *("PolicyQuestion.labels", "PutPolicyRequest.text", "ResolveCallApprovalRequest.note", "TestPolicyRequest.text"),
    *("Refusal.action", "Refusal.message", "Refusal.namespace", "Refusal.reason", "Refusal.subject"),
    *("ListRunsRequest.inputs", "PauseRunRequest.reason", "PublishEventRequest.type", "PutArtifactRequest.data"),
    *("RegisterInstanceRequest.address", "RegisterInstanceRequest.host", "RegisterInstanceRequest.version"),
    *("RenewCertificateRequest.csr", "RerunFromStepRequest.step", "ResolveApprovalRequest.note", "ResolveApprovalRequest.step"),
    *("RevokeCertificateRequest.reason", "RunFilter.inputs", "Schedule.cron", "Schedule.time_zone", "SessionCall.traceparent"),
    *("SignalRunRequest.name", "StepReference.step", "Value.data", "Value.media_type", "VerifyAuditRequest.service"),
}
"""Every field that is a text of its own: what is written, a reason, a filter over the caller's own."""
SECRETS = {
    *("AuthenticateKeyRequest.digest", "AuthenticateKeyRequest.id", "CallOptions.mandate", "CallOrigin.mandate", "EnrollRequest.token"),
}
"""What proves by itself what may be done, as long as the right one shows it; each has its own tests."""
AS_THE_METHOD = {"SessionCall.function"}
"""What is said once for all kinds of calls."""

VOLATILE = {"id", "callId", "call_id", "instanceId", "eventId", "runId", "traceId", "token", "secret", "hash", "previousHash"}
VOLATILE |= {
    "number",
    "sequence",
    "nextPageToken",
    "timing",
    "queuedUs",
    "transportUs",
    "executingUs",
    "milliseconds",
    "incident",
    "entryCount",
}
"""What differs from one answer to the next, whatever is asked."""

READ = {
    *("AgentManagerService.GetAgent", "AgentManagerService.ListCertificates", "AgentManagerService.ListFunctions"),
    *("AuditService.ListAudit", "DispatcherService.GetCall", "DispatcherService.GetCallApproval"),
    *("DispatcherService.ListCalls", "DispatcherService.ListCallApprovals", "GatewayService.GetArtifact", "KeyService.ListKeys"),
    *("KeyService.ListRoles", "MonitorService.GetTrace", "MonitorService.QueryLogs", "PolicyService.GetPolicy"),
    *("PolicyService.ListPolicies", "SchedulerService.GetRun", "SchedulerService.GetSchedule", "SchedulerService.GetWorkflow"),
    *("SchedulerService.ListApprovals", "SchedulerService.ListRuns", "SchedulerService.ListSchedules", "SchedulerService.ListWorkflows"),
}
"""What shows something to whom it belongs, at once and without a change."""

OF_ALL = {
    *("AgentManagerService.WatchAccess", "AgentManagerService.WatchAgents", "AuditService.GetAuditCheckpoint"),
    *("AuditService.VerifyAudit", "KeyService.AuthenticateKey", "RefusalService.ReportRefusals"),
}
"""What services ask of all namespaces at once, and name none."""

Path = tuple[FieldDescriptor, ...]
Send = Callable[[Ports, MethodDescriptor, Message], Any]


@pytest.fixture(scope="module")
def rival(shared_mesh: MeshFile, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MeshFile]:
    with tenants.rival(shared_mesh, tmp_path_factory.mktemp("rival")) as file:
        yield file


@pytest.fixture(scope="module")
def things(shared_mesh: MeshFile, rival: MeshFile) -> Iterator[Things]:  # the rival is let in first
    found: Things = tenants.in_a_loop_of_its_own(tenants.filled(shared_mesh))
    yield found
    tenants.in_a_loop_of_its_own(tenants.emptied(shared_mesh, found))


@pytest.fixture
async def ports(shared_mesh: MeshFile, things: Things) -> AsyncIterator[Ports]:
    before = await tenants.snapshot(shared_mesh, things)
    async with Ports(shared_mesh) as ports:
        yield ports
    assert await tenants.snapshot(shared_mesh, things) == before


def fields_of(message: Descriptor, before: Path = ()) -> Iterator[Path]:
    """Yields the way to every text and every bytes in a message."""
    for field in message.fields:
        if field.type in (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES):
            yield (*before, field)
        elif (inner := field.message_type) is not None and inner.full_name.startswith("parade.v1."):
            if inner.GetOptions().map_entry or field in before:
                continue
            yield from fields_of(inner, (*before, field))


def name_of(path: Path) -> str:
    message, _, field = path[-1].full_name.rpartition(".")
    return f"{message.rpartition('.')[2]}.{field}"


def put(request: Any, path: Path, value: str) -> None:
    """Sets one field of a request, wherever it stands."""
    *way, last = path
    for field in way:
        if field.name == "artifact" and field.containing_oneof is None:
            request.ClearField("data")  # which is the value where it is there
        inner = getattr(request, field.name)
        request = (inner[0] if len(inner) else inner.add()) if field.is_repeated else inner
    if last.is_repeated:
        getattr(request, last.name).append(value)
    else:
        setattr(request, last.name, value.encode() if last.type == FieldDescriptor.TYPE_BYTES else value)


def request_of(name: str) -> Any:
    return json_format.ParseDict(USABLE.get(name, {}), message_class(METHODS[name].input_type)())


def texts_for(name: str, path: Path, things: Things) -> tuple[str, str]:
    """Returns what the other namespace has for a field, and what nobody has."""
    if path[-1].name == "page_token":
        token = things.pages[name] or things.pages["AgentManagerService.ListFunctions"]  # who has one agent has no second page of them
        return token, tenants.another("page", token)
    kind = NAMING[name_of(path)]
    if kind == "source":
        flow = "name: taken\nsteps:\n  a: {{call: {function}, with: {{text: a}}}}\n  b: {{run: {workflow}}}\n"
        named = {each: things.named[each] for each in ("function", "workflow")}
        return flow.format(**named), flow.format(**{each: tenants.another(each, text) for each, text in named.items()})
    return things.named[kind], tenants.another(kind, things.named[kind])


def told(answer: Answer, given: str, things: Things) -> Any:
    """Returns what an answer says, without what was given in the request and what differs from one answer to the next."""
    error = answer.error
    said: list[Any] = [json_format.MessageToDict(message) for message in answer.messages]
    if error is not None:
        faults = [(fault.field, fault.description, fault.line) for fault in error.violations]
        said.append({"reason": error.reason, "message": error.message, "faults": faults, "metadata": dict(error.metadata)})
    parts = [given, *(text for kind in ("function", "workflow") for text in pair(kind, things) if text in given), *given.split(".")]
    return steady(said, [part for part in parts if part])


def pair(kind: str, things: Things) -> tuple[str, str]:
    return things.named[kind], tenants.another(kind, things.named[kind])


def steady(said: Any, given: list[str]) -> Any:
    if isinstance(said, dict):
        kept = {key: steady(value, given) for key, value in said.items()}
        return {key: value for key, value in kept.items() if key not in VOLATILE and not key.lower().endswith("time")}
    if isinstance(said, (list, tuple)):
        return [steady(value, given) for value in said]
    for part in given if isinstance(said, str) else ():
        said = said.replace(part, "<given>")
    return said


def leaks_in(answer: Answer, things: Things) -> bool:
    return things.secret in repr(answer.messages) or things.secret in str(answer.error)


async def compared(ports: Ports, send: Send, names: list[str], things: Things) -> dict[str, Any]:
    """Asks each method as it may be asked, and then with every other name that the other namespace has; returns what has leaked."""
    leaks: dict[str, Any] = {}
    for name in names:
        method = METHODS[name]
        if leaks_in(await send(ports, method, request_of(name)), things):
            leaks[name] = "holds a secret"
        for path in fields_of(method.input_type):
            if name_of(path) not in NAMING and path[-1].name != "page_token":
                continue
            answers = []
            for text in texts_for(name, path, things):
                request = request_of(name)
                put(request, path, text)
                answer = await send(ports, method, request)
                answers.append(told(answer, text, things))
                if leaks_in(answer, things):
                    leaks[f"{name} {name_of(path)}"] = "holds a secret"
            if answers[0] != answers[1]:
                leaks[f"{name} {'.'.join(field.name for field in path)}"] = answers
    return leaks


def named_for(kind: access_pb2.CallerKind.ValueType) -> list[str]:
    return [name for name, method in METHODS.items() if admits(method, kind)]


def test_the_tables_know_every_field_of_every_request() -> None:
    inputs = [method.input_type for method in METHODS.values()] + [SessionCall.DESCRIPTOR]
    known = NAMING.keys() | PLAIN | SECRETS | AS_THE_METHOD
    found = {name_of(path) for message in inputs for path in fields_of(message) if path[-1].name != "page_token"}

    assert found == known


def test_what_the_other_namespace_has_is_of_every_kind(things: Things) -> None:
    lists = {name for name, method in METHODS.items() if "page_token" in method.input_type.fields_by_name}

    assert set(NAMING.values()) - {"source"} <= things.named.keys()
    # A second page of agents there is only where other tests have left an agent.
    assert {name for name, token in things.pages.items() if token} | {"AgentManagerService.ListAgents"} == lists


async def test_a_leak_would_be_seen(ports: Ports, things: Things) -> None:
    async def as_the_owner(ports: Ports, method: MethodDescriptor, request: Message) -> Answer:
        return await ports.ask(Identity.client("dev"), method, request)

    seen = await compared(ports, as_the_owner, list(READ), things)

    assert {label.partition(" ")[0] for label in seen} == READ


@pytest.mark.parametrize("caller", [CLIENT, AGENT], ids=["client", "agent"])
async def test_nobody_reaches_another_namespace_whatever_it_claims(ports: Ports, things: Things, caller: Identity) -> None:
    claimed = on_behalf_of("default", things.named["client"], Role.ADMIN)
    kind = access_pb2.CallerKind.Value(f"CALLER_KIND_{caller.kind}")

    async def send(ports: Ports, method: MethodDescriptor, request: Message) -> Answer:
        return await ports.ask(caller, method, request, claimed)

    assert await compared(ports, send, named_for(kind), things) == {}


async def test_whom_the_gateway_acts_for_reaches_no_other_namespace(ports: Ports, things: Things) -> None:
    metadata = on_behalf_of(RIVAL, "key:0123456789", Role.ADMIN)
    names = [name for name in named_for(access_pb2.CALLER_KIND_GATEWAY) if name in set(named_for(access_pb2.CALLER_KIND_CLIENT))]

    async def send(ports: Ports, method: MethodDescriptor, request: Message) -> Answer:
        return await ports.ask(Identity.service("gateway"), method, request, metadata)

    assert await compared(ports, send, names, things) == {}


@pytest.mark.parametrize("caller", [CLIENT, AGENT], ids=["client", "agent"])
async def test_nobody_reaches_another_namespace_by_session(ports: Ports, things: Things, caller: Identity) -> None:
    kind = access_pb2.CallerKind.Value(f"CALLER_KIND_{caller.kind}")
    names = [name for name in named_for(kind) if name.startswith("SchedulerService.") and not METHODS[name].server_streaming]

    async def send(ports: Ports, method: MethodDescriptor, request: Message) -> Answer:
        return await ports.ask_by_session(caller, method, request)

    assert await compared(ports, send, names, things) == {}


@pytest.mark.parametrize("caller", [CLIENT, AGENT], ids=["client", "agent"])
async def test_no_call_of_a_session_reaches_another_namespace(ports: Ports, things: Things, caller: Identity) -> None:
    leaks = {}
    for path in fields_of(SessionCall.DESCRIPTOR):
        if name_of(path) not in NAMING and name_of(path) not in AS_THE_METHOD:
            continue
        answers = []
        for text in pair("function" if name_of(path) in AS_THE_METHOD else NAMING[name_of(path)], things):
            call = json_format.ParseDict(CALLED, SessionCall())
            put(call, path, text)
            answer = await ports.call(caller, call)
            answers.append(told(answer, text, things))
            assert not leaks_in(answer, things)
        if answers[0] != answers[1]:
            leaks[name_of(path)] = answers

    assert leaks == {}


async def test_nobody_reaches_another_namespace_over_rest(ports: Ports, rival: MeshFile, things: Things) -> None:
    key = (rival.folder / rival.api_key).read_text()
    leaks, asked = {}, 0
    async with httpx.AsyncClient(base_url=rival.rest, headers={"x-api-key": key}, timeout=20) as client:
        for route in Routes(public_services()):
            if route.streams:
                continue
            for field in route.method.input_type.fields:
                kind = NAMING.get(name_of((field,)), "source")
                if kind == "source" or field.is_repeated:
                    continue
                answers = []
                for text in pair(kind, things):
                    response = await over_rest(client, route, field, text)
                    body = response.json()
                    answers.append((response.status_code, steady(body, [text, *text.split(".")])))
                    assert things.secret not in response.text
                asked += 1
                if answers[0] != answers[1]:
                    leaks[f"{route.template} {field.name}"] = answers

    assert leaks == {}
    assert asked > 30


async def over_rest(client: httpx.AsyncClient, route: Route, field: FieldDescriptor, text: str) -> httpx.Response:
    given = {**USABLE.get(f"{route.method.containing_service.name}.{route.method.name}", {}), field.json_name: text}
    path = route.template
    for name in route.path_fields:
        path = path.replace(f"{{{name}}}", str(given.pop(route.method.input_type.fields_by_name[name].json_name, "a")))
    flat = {name: value for name, value in given.items() if not isinstance(value, dict)}
    if route.has_body:
        return await client.request(route.verb, path, json=given)
    return await client.request(route.verb, path, params=flat)


async def test_nobody_reads_another_namespaces_bytes_over_rest(rival: MeshFile, things: Things) -> None:
    key = (rival.folder / rival.api_key).read_text()
    async with httpx.AsyncClient(base_url=rival.rest, headers={"x-api-key": key}, timeout=20) as client:
        said = []
        for digest in pair("digest", things):
            response = await client.get(f"/v1/artifacts/{digest}")
            said.append((response.status_code, steady(response.json(), [digest])))

    assert said[0] == said[1]
    assert said[0][0] == 404


@pytest.mark.parametrize("namespace", ["", "*", "Default", "default/../rival", "_uploads", "a" * 41, "default ", "1a"])
@pytest.mark.parametrize("service", ["gateway", "scheduler", "dispatcher"])
async def test_a_service_names_a_namespace_or_is_refused(ports: Ports, service: str, namespace: str) -> None:
    caller = Identity.service(service)
    kind = access_pb2.CallerKind.Value(f"CALLER_KIND_{service.upper()}")
    metadata = on_behalf_of(namespace, "key:0123456789", Role.ADMIN)
    said, names = {}, [name for name in named_for(kind) if namespace or name not in OF_ALL]
    for name in names:
        answer = await ports.ask(caller, METHODS[name], request_of(name), metadata)
        said[name] = answer.error.reason if answer.error is not None else None

    assert said == dict.fromkeys(names, Reason.INVALID_ARGUMENTS)


@pytest.mark.parametrize("service", ["gateway", "scheduler"])
@pytest.mark.parametrize("namespace", ["*", "Default", "default/x", "a" * 41])
async def test_a_call_of_a_session_is_for_a_namespace_or_is_refused(ports: Ports, service: str, namespace: str) -> None:
    call = json_format.ParseDict({**CALLED, "origin": {"namespace": namespace, "role": "ROLE_ADMIN"}}, SessionCall())

    answer = await ports.call(Identity.service(service), call)

    assert answer.error is not None
    assert answer.error.reason is Reason.INVALID_ARGUMENTS
