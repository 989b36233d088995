"""Agents, clients and workflows for the Parade mesh."""

import importlib
import os
from typing import TYPE_CHECKING, Any

# gRPC's own log lines go straight to standard error and cannot be told apart from a program's; what matters of them is raised as an error.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

# By default a poller of gRPC's own reads a socket and hands each message on to a pool of threads, which wakes the thread that waits for it.
# The polling it had before lets the waiting thread read the socket itself. docs/adr/0010 has what that saves. gRPC reads this at its start.
os.environ.setdefault("GRPC_EXPERIMENTS", "-event_engine_client,-event_engine_listener")

if TYPE_CHECKING:
    from parade import sync, testing
    from parade.agent import Agent
    from parade.artifact import Artifact
    from parade.call_options import CallOptions
    from parade.calls import Progress
    from parade.client import Mesh, connect
    from parade.context import Context
    from parade.durable.context import WorkflowContext
    from parade.durable.definition import workflow
    from parade.durable.errors import NondeterminismError
    from parade.function_error import FunctionError
    from parade.outcome import Outcome, Timing
    from parade.retry_policy import RetryPolicy
    from parade.run import EventType, Run, RunEvent, RunState
    from parade.started_call import CallState, CancellationState, StartedCall
    from parade.wire.errors import ParadeError, Reason, Violation
    from parade.wire.mesh_file import MeshFile
    from parade.workflow_builder import Workflow
    from parade.workflow_expression import EVENT, INDEX, INPUTS, ITEM, OUTPUT, SECRETS, Expression
    from parade.workflow_words import Compensation, Concurrency, Loop, Retry, Schedule, Trigger

__all__ = [
    "EVENT",
    "INDEX",
    "INPUTS",
    "ITEM",
    "OUTPUT",
    "SECRETS",
    "Agent",
    "Artifact",
    "CallOptions",
    "CallState",
    "CancellationState",
    "Compensation",
    "Concurrency",
    "Context",
    "EventType",
    "Expression",
    "FunctionError",
    "Loop",
    "Mesh",
    "MeshFile",
    "NondeterminismError",
    "Outcome",
    "ParadeError",
    "Progress",
    "Reason",
    "Retry",
    "RetryPolicy",
    "Run",
    "RunEvent",
    "RunState",
    "Schedule",
    "StartedCall",
    "Timing",
    "Trigger",
    "Violation",
    "Workflow",
    "WorkflowContext",
    "connect",
    "sync",
    "testing",
    "workflow",
]

_HOMES = {
    "Agent": "parade.agent",
    "Artifact": "parade.artifact",
    "CallOptions": "parade.call_options",
    "CallState": "parade.started_call",
    "CancellationState": "parade.started_call",
    "Compensation": "parade.workflow_words",
    "Concurrency": "parade.workflow_words",
    "Context": "parade.context",
    "EVENT": "parade.workflow_expression",
    "EventType": "parade.run",
    "Expression": "parade.workflow_expression",
    "FunctionError": "parade.function_error",
    "INDEX": "parade.workflow_expression",
    "INPUTS": "parade.workflow_expression",
    "ITEM": "parade.workflow_expression",
    "Loop": "parade.workflow_words",
    "Mesh": "parade.client",
    "MeshFile": "parade.wire.mesh_file",
    "NondeterminismError": "parade.durable.errors",
    "OUTPUT": "parade.workflow_expression",
    "Outcome": "parade.outcome",
    "ParadeError": "parade.wire.errors",
    "Progress": "parade.calls",
    "Reason": "parade.wire.errors",
    "Retry": "parade.workflow_words",
    "RetryPolicy": "parade.retry_policy",
    "Run": "parade.run",
    "RunEvent": "parade.run",
    "RunState": "parade.run",
    "SECRETS": "parade.workflow_expression",
    "Schedule": "parade.workflow_words",
    "StartedCall": "parade.started_call",
    "Timing": "parade.outcome",
    "Trigger": "parade.workflow_words",
    "Violation": "parade.wire.errors",
    "Workflow": "parade.workflow_builder",
    "WorkflowContext": "parade.durable.context",
    "connect": "parade.client",
    "workflow": "parade.durable.definition",
}
"""Where each public name lives. It is imported when it is first asked for, so that a program pays only for what it uses."""

_MODULES = frozenset({"sync", "testing"})
"""The modules that are public as they are."""


def __getattr__(name: str) -> Any:
    """Imports a public name."""
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Lists the public names."""
    return sorted(__all__)
