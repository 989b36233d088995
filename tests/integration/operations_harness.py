"""What the tests of operations on runs share."""

from typing import Any

import orjson
import pytest

from parade.v1 import scheduler_pb2 as pb
from parade.wire.errors import ParadeError, Reason
from tests.integration.scheduler_harness import ended

CHAIN = {
    "a": {"call": "x.a", "with": {"n": "${{ inputs.n }}"}},
    "b": {"call": "x.b", "needs": "a", "with": {"got": "${{ steps.a.output }}", "n": "${{ inputs.n }}"}},
    "c": {"call": "x.c", "needs": "b"},
}
INPUTS = {"n": {"type": "integer", "default": 1}}


async def refused(awaitable: Any, reason: Reason) -> ParadeError:
    with pytest.raises(ParadeError) as caught:
        await awaitable
    assert caught.value.reason is reason, caught.value
    return caught.value


def states(run: pb.Run) -> dict[str, str]:
    return {step.id: pb.StepState.Name(step.state).removeprefix("STEP_STATE_") for step in run.steps}


def of_kind(events: list[pb.RunEvent], kind: str) -> list[pb.RunEvent]:
    return [event for event in events if pb.RunEventType.Name(event.type) == f"RUN_EVENT_TYPE_{kind}"]


def outputs(run: pb.Run) -> Any:
    return orjson.loads(run.outputs.data)


async def cancelled(stub: Any, run_id: str) -> pb.Run:
    await stub.CancelRun(pb.CancelRunRequest(run_id=run_id))
    return await ended(stub, run_id)
