"""From workflows, their faults and their graphs to the contract; pure."""

from typing import Final

from parade.v1 import scheduler_pb2 as pb
from parade.v1 import step_kind_pb2
from parade_scheduler.convert.values import to_timestamp
from parade_scheduler.expression import Expression
from parade_scheduler.language import Definition, Examined, Fault, StepDefinition
from parade_scheduler.language.definition import Approval, Event, Signal, Timer
from parade_scheduler.language.template import Template, Text
from parade_scheduler.model import Workflow
from parade_scheduler.refusal import MAX_DESCRIPTION, MAX_FIELD, shortened

MAX_FAULTS: Final = 1_000
"""How many faults of a definition are told."""
MAX_HINT: Final = 640
"""How long what to write instead is, in characters."""
MAX_GRAPH_BYTES: Final = 4 * 1024 * 1024


def to_workflow(workflow: Workflow) -> pb.Workflow:
    """Writes a workflow."""
    return pb.Workflow(
        name=workflow.name,
        version=workflow.version,
        hash=workflow.hash,
        description=workflow.description,
        source=workflow.source,
        create_time=to_timestamp(workflow.create_time),
    )


def to_check(examined: Examined) -> pb.CheckWorkflowResponse:
    """Writes what was found in a definition."""
    faults = [_to_fault(fault) for fault in examined.faults[:MAX_FAULTS]]
    response = pb.CheckWorkflowResponse(faults=faults, fault_count=len(examined.faults))
    if examined.definition is not None and not faults:
        graph = _to_graph(examined.definition)
        if graph.ByteSize() <= MAX_GRAPH_BYTES:
            response.graph.CopyFrom(graph)
    return response


def _to_fault(fault: Fault) -> pb.WorkflowFault:
    return pb.WorkflowFault(
        field=shortened(fault.field, MAX_FIELD),
        line=fault.line,
        description=shortened(fault.description, MAX_DESCRIPTION),
        hint=shortened(fault.hint, MAX_HINT),
    )


def _to_graph(definition: Definition) -> pb.WorkflowGraph:
    return pb.WorkflowGraph(
        name=definition.name, description=definition.description, steps=[_to_step(step) for step in definition.steps.values()]
    )


def _to_step(step: StepDefinition) -> pb.WorkflowStep:
    return pb.WorkflowStep(
        id=step.id,
        call=step.call,
        description=step.description,
        needs=step.needs,
        for_each=step.items is not None,
        condition=_to_condition(step),
        kind=step_kind_pb2.StepKind.Value(f"STEP_KIND_{step.kind}"),
        detail=_detail(step),
        race=step.race,
        loop=step.loop is not None,
        compensation="" if step.compensation is None else step.compensation.call,
    )


def _to_condition(step: StepDefinition) -> str:
    match step.condition:
        case None:
            return ""
        case bool():
            return str(step.condition).lower()
    return step.condition.text


def _detail(step: StepDefinition) -> str:
    """Returns in a few words what a step waits for."""
    match step.wait:
        case Approval():
            return shortened(_text(step.wait.message), MAX_DESCRIPTION)
        case Signal():
            return step.wait.name
        case Timer(duration=duration, until=until):
            template = duration if duration is not None else until
            return "" if template is None else shortened(_text(template), MAX_DESCRIPTION)
        case Event():
            return step.wait.type
    return ""


def _text(template: Template) -> str:
    """Returns a template as its author wrote it."""
    match template.value:
        case Expression() as expression:
            return f"${{{{ {expression.text} }}}}"
        case Text() as text:
            return "".join(part if isinstance(part, str) else f"${{{{ {part.text} }}}}" for part in text.parts)
        case value:
            return str(value)
