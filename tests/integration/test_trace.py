"""One trace runs from the client through gateway, scheduler and dispatcher to the agent's function."""

import secrets

import httpx

from parade.client import Mesh
from parade.wire.errors import ParadeError, Reason
from tests.support.waiting import eventually

ONE_STEP = """
name: one-step
inputs:
  text: {type: string}
steps:
  only:
    call: tested.echo
    with: {text: "${{ inputs.text }}"}
outputs:
  text: ${{ steps.only.output }}
"""


async def test_a_run_started_over_rest_is_one_trace_down_to_the_function(mesh: Mesh) -> None:
    await mesh.put_workflow(ONE_STEP)
    trace_id = secrets.token_hex(16)
    key = (mesh.file.folder / mesh.file.api_key).read_text().strip()
    headers = {"authorization": f"Bearer {key}", "traceparent": f"00-{trace_id}-{secrets.token_hex(8)}-01"}
    async with httpx.AsyncClient(base_url=mesh.file.rest, headers=headers, timeout=20) as client:
        started = await client.post("/v1/workflows/one-step/runs", json={"inputs": {"text": "traced"}})
        run = started.raise_for_status().json()["run"]
        ended = await client.get(f"/v1/runs/{run['id']}:wait")

    services: set[str] = set()

    async def complete() -> bool:
        try:
            services.update(span.service for span in await mesh.trace(trace_id))
        except ParadeError as error:
            if error.reason is not Reason.NOT_FOUND:
                raise
        return services >= {"gateway", "scheduler", "dispatcher", "tested"}

    await eventually(complete, within=15)
    assert ended.json()["run"]["outputs"] == {"text": "traced"}
    assert run["traceId"] == trace_id


async def test_a_trace_is_a_tree_under_the_client(mesh: Mesh) -> None:
    await mesh.put_workflow(ONE_STEP)
    run = await mesh.start("one-step", text="a")
    await run.result(timeout=20)
    trace_id = (await run.get()).trace_id

    async def complete() -> bool:
        try:
            spans = await mesh.trace(trace_id)
        except ParadeError:
            return False
        known = {span.span_id for span in spans}
        roots = [span for span in spans if span.parent_span_id not in known]
        return {span.service for span in spans} >= {"client", "scheduler", "dispatcher", "tested"} and [root.service for root in roots] == [
            "client"
        ]

    await eventually(complete, within=15)
