"""Calls as a client makes them, over a session: results, options, outcomes, streams, cancellation, large values."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest

from parade.artifact import Artifact
from parade.artifacts import MAX_INLINE_BYTES, MAX_JSON_BYTES
from parade.call_options import CallOptions
from parade.calls import Progress
from parade.wire.errors import ParadeError, Reason
from parade.wire.telemetry import Telemetry
from tests.integration.caller_harness import PIECE, Stage, staged
from tests.support.waiting import eventually

MIB = 1024 * 1024


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with staged(tmp_path) as stage:
        yield stage


async def test_a_call_returns_its_result(stage: Stage) -> None:
    assert await stage.caller.call("tested.echo", {"text": "häßlich 漢字"}) == {"text": "häßlich 漢字"}
    assert await stage.caller.call("tested.nothing", {}) is None


async def test_many_calls_share_the_session(stage: Stage) -> None:
    results = await asyncio.gather(*(stage.caller.call("tested.echo", {"number": number}) for number in range(2_000)))

    assert [result["number"] for result in results] == list(range(2_000))


async def test_what_the_caller_says_travels(stage: Stage) -> None:
    options = CallOptions("order-7", priority=9, affinity_key="customer", labels={"gpu": "yes"}, functions=["a.b", "c.*"])

    await stage.caller.call("tested.echo", {}, timeout=7, options=options, parent_call_id="parent-1", mandate=b"m")

    call = stage.functions.calls[0]
    sent = call.options
    assert (sent.idempotency_key, sent.priority, sent.affinity_key, dict(sent.labels)) == ("order-7", 9, "customer", {"gpu": "yes"})
    assert (sent.parent_call_id, list(sent.functions), sent.mandate) == ("parent-1", ["a.b", "c.*"], b"m")
    assert len(sent.call_id) >= 8
    assert 6 < call.timeout <= 7
    assert call.window == 0


async def test_a_mandate_travels_also_where_nothing_else_is_said(stage: Stage) -> None:
    await stage.caller.call("tested.echo", {}, mandate=b"m")

    assert stage.functions.calls[0].options.mandate == b"m"


async def test_an_outcome_tells_who_answered_and_where_the_time_went(stage: Stage) -> None:
    began = time.perf_counter()
    outcome = await stage.caller.outcome("tested.echo", {"a": 1})
    took = time.perf_counter() - began

    assert (outcome.value, outcome.instance_id) == ({"a": 1}, "ins-1")
    assert outcome.call_id == stage.functions.calls[0].options.call_id
    assert (outcome.timing.queued, outcome.timing.executing) == (0.001, 0.003)
    assert 0 <= outcome.timing.transport <= took
    assert outcome.timing.total <= max(took, 0.004)


async def test_an_outcome_with_progress(stage: Stage) -> None:
    notes: list[Progress] = []

    outcome = await stage.caller.outcome("tested.work", {}, progress=notes.append)

    assert outcome.value == "done"
    assert notes[-1] == Progress(1, "working")  # earlier ones may have given way to it


async def test_an_outcome_of_a_streaming_function_is_refused(stage: Stage) -> None:
    with pytest.raises(ParadeError, match="call it as a stream"):
        await stage.caller.outcome("tested.count", {"end": 3}, progress=lambda _: None)


@pytest.mark.parametrize("timeout", [0, -1, 86_401, float("nan"), float("inf")])
async def test_a_timeout_that_is_none_is_refused(stage: Stage, timeout: float) -> None:
    with pytest.raises(ParadeError) as refused:
        await stage.caller.call("tested.echo", {}, timeout)

    assert refused.value.violations[0].field == "timeout"
    assert stage.functions.calls == []


async def test_arguments_without_a_json_form_are_refused(stage: Stage) -> None:
    with pytest.raises(ParadeError, match="cannot be sent") as refused:
        await stage.caller.call("tested.echo", {"lock": object()})

    assert refused.value.reason is Reason.INVALID_ARGUMENTS


async def test_a_failure_comes_out_as_it_was(stage: Stage) -> None:
    with pytest.raises(ParadeError, match="no such row") as failed:
        await stage.caller.call("tested.refuse", {})

    assert failed.value.reason is Reason.AGENT_ERROR
    assert failed.value.metadata["exception_type"] == "LookupError"


async def test_a_deadline_is_held_by_the_caller_itself(stage: Stage) -> None:
    began = time.monotonic()
    with pytest.raises(ParadeError) as failed:
        await stage.caller.call("tested.never", {}, 0.3)

    assert failed.value.reason is Reason.DEADLINE_EXCEEDED
    assert 0.3 <= time.monotonic() - began < 1.5
    await eventually(lambda: stage.functions.cancelled == ["tested.never"])


async def test_who_stops_waiting_cancels_the_call(stage: Stage) -> None:
    waiting = asyncio.create_task(stage.caller.call("tested.never", {}))
    await eventually(lambda: len(stage.functions.calls) == 1)

    waiting.cancel()

    await eventually(lambda: stage.functions.cancelled == ["tested.never"])
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_a_stream_yields_its_items_in_order(stage: Stage) -> None:
    items = [item["number"] async for item in stage.caller.stream("tested.count", {"end": 5_000})]

    assert items == list(range(5_000))
    assert stage.functions.calls[0].window > 0


async def test_events_are_notes_and_the_result(stage: Stage) -> None:
    *notes, result = [event async for event in stage.caller.events("tested.work", {})]

    assert result == "done"
    assert notes[-1] == Progress(1, "working")  # earlier ones may have given way to it
    assert [item async for item in stage.caller.stream("tested.work", {})] == ["done"]


async def test_a_slow_reader_holds_the_function_back(stage: Stage) -> None:
    async with aclosing(stage.caller.stream("tested.count", {"end": 10_000, "size": 10_000})) as items:
        await anext(items)
        # A call that comes and goes meanwhile shows that what could have come has come.
        for _ in range(20):
            await stage.caller.call("tested.echo", {})
        told = stage.functions.items
        assert told < 100
        for _ in range(60):
            await anext(items)
        await eventually(lambda: stage.functions.items > told)


async def test_who_leaves_a_stream_cancels_the_call(stage: Stage) -> None:
    async for _ in stage.caller.stream("tested.count", {"end": 3, "endless": True}):
        break

    await eventually(lambda: stage.functions.cancelled == ["tested.count"])


async def test_spans_are_recorded_and_sent_on(tmp_path: Path) -> None:
    with Telemetry("client", "test") as telemetry:
        async with staged(tmp_path, telemetry) as stage:
            with telemetry.tracer.start_as_current_span("outer") as span:
                trace_id = f"{span.get_span_context().trace_id:032x}"
                await stage.caller.call("tested.echo", {})
                assert [item async for item in stage.caller.stream("tested.work", {})] == ["done"]
                sampled = span.get_span_context().trace_flags.sampled
            await stage.caller.call("tested.echo", {})

    parents = [call.traceparent for call in stage.functions.calls]
    assert [parent.split("-")[1] if parent else "" for parent in parents] == [*[trace_id if sampled else ""] * 2, ""]


# ------------------------------------------------------------------------------------------------------------ large values


async def test_json_above_a_mebibyte_travels_as_an_artifact_both_ways(stage: Stage) -> None:
    text = "x" * (5 * MIB)

    assert await stage.caller.call("tested.echo", {"text": text}) == {"text": text}

    arguments = stage.functions.calls[0].arguments
    assert not arguments.data
    assert arguments.artifact.size == len(text) + len('{"text":""}')
    assert arguments.artifact.media_type == "application/json"


async def test_json_up_to_a_mebibyte_travels_as_it_is(stage: Stage) -> None:
    text = "x" * (MAX_INLINE_BYTES - len('{"text":""}'))

    assert await stage.caller.call("tested.echo", {"text": text}) == {"text": text}
    assert stage.gateway.kept == {}


async def test_the_same_large_arguments_are_sent_once(stage: Stage) -> None:
    text = "x" * (5 * MIB)

    for _ in range(3):
        await stage.caller.call("tested.echo", {"text": text})

    assert len(stage.gateway.kept) == 1
    assert stage.gateway.received < 6 * MIB


async def test_json_that_nobody_could_hold_is_refused(stage: Stage) -> None:
    with pytest.raises(ParadeError, match="64 MiB") as refused:
        await stage.caller.call("tested.echo", {"text": "x" * MAX_JSON_BYTES})

    assert refused.value.reason is Reason.INVALID_ARGUMENTS


async def test_a_file_goes_there_and_back(stage: Stage, tmp_path: Path) -> None:
    content = os.urandom(3 * MIB + 17)
    source, target = tmp_path / "there", tmp_path / "back"
    source.write_bytes(content)

    artifact = await stage.artifacts.put(source, "text/csv")
    stage.gateway.breaks_after = [PIECE * 3, PIECE * 3 + 5]
    await artifact.save(target)

    assert target.read_bytes() == content
    assert (artifact.size, artifact.media_type) == (len(content), "text/csv")
    found = await stage.artifacts.find(artifact.digest)
    assert (found.digest, found.size, found.media_type) == (artifact.digest, artifact.size, "text/csv")


async def test_bytes_and_what_comes_in_pieces_are_the_same_artifact(stage: Stage) -> None:
    content = os.urandom(MIB + 3)

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(content), 1000):
            yield content[start : start + 1000]

    whole = await stage.artifacts.put(content)
    parts = await stage.artifacts.put(pieces())
    again = await stage.artifacts.put(memoryview(content))

    assert whole == parts == again
    assert await parts.read() == content


async def test_nothing_can_be_put_too(stage: Stage) -> None:
    empty = await stage.artifacts.put(b"")

    assert (empty.size, await empty.read()) == (0, b"")


async def test_an_artifact_is_an_argument_and_a_result(stage: Stage) -> None:
    artifact = await stage.artifacts.put(b"rows", "text/csv")

    result = await stage.caller.call("tested.echo", {"rows": artifact})

    assert result == {"rows": artifact.to_json()}
    assert await stage.artifacts.named(result["rows"]).read() == b"rows"


async def test_an_artifact_that_nobody_has_is_not_found(stage: Stage) -> None:
    with pytest.raises(ParadeError) as failed:
        await Artifact(f"sha256:{'0' * 64}", 5, store=stage.artifacts).read()
    with pytest.raises(ParadeError) as not_found:
        await stage.artifacts.find(f"sha256:{'0' * 64}")

    assert failed.value.reason is not_found.value.reason is Reason.NOT_FOUND


async def test_a_file_that_is_not_there_is_an_os_error(stage: Stage, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await stage.artifacts.put(tmp_path / "nowhere")
