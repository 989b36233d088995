"""Between the model and the rows of the store, both ways; pure."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import orjson
from sqlalchemy import Row

from parade.wire.errors import ParadeError, Reason, Violation
from parade.wire.identity import ANONYMOUS, Identity
from parade.wire.mandate import WHOLE, Scope
from parade_dispatcher.changes import CallState, EffectRecord, Key, StartedCall
from parade_dispatcher.model import Answer, Artifact, Content, Effect, Entry, Outcome, Progress, Request, Timing

LARGEST_RECEIPT: Final = 1024 * 1024
"""Bytes of a result that are kept as a receipt; a larger one travels as an artifact, or is not kept."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def to_micros(time: datetime) -> int:
    """Writes a time."""
    return (time - _EPOCH) // timedelta(microseconds=1)


def to_time(micros: int) -> datetime:
    """Reads a time."""
    return _EPOCH + timedelta(microseconds=micros)


def effect_key(entry: Entry) -> tuple[str, bytes]:
    """Returns what an effect is found by."""
    return entry.namespace, entry.key.encode()


def effect_row(entry: Entry, owner: str, time: datetime) -> dict[str, Any]:
    """Writes an effect that has not been brought about yet."""
    return {
        "namespace": entry.namespace,
        "key": entry.key.encode(),
        "function": entry.function,
        "arguments_hash": entry.arguments_hash,
        "call_id": entry.call_id,
        "owner": owner,
        "instance_id": "",
        "is_final": False,
        "created": to_micros(time),
    }


def receipt_row(entry: Entry, outcome: Outcome, time: datetime) -> dict[str, Any]:
    """Writes how an effect ended."""
    if isinstance(outcome, Answer) and isinstance(outcome.result, bytes) and len(outcome.result) > LARGEST_RECEIPT:
        size = f"{len(outcome.result):,} bytes"
        message = f"{entry.function} has run and succeeded under this key, but its result of {size} was too large to be kept"
        error = ParadeError(Reason.FAILED_PRECONDITION, message, metadata={"function": entry.function, "call_id": outcome.call_id})
        values, is_final, instance_id = _outcome_values(None, error, outcome.timing), True, outcome.instance_id
    elif isinstance(outcome, Answer):
        values, is_final, instance_id = _outcome_values(outcome.result, None, outcome.timing), True, outcome.instance_id
    else:
        is_final, instance_id = outcome.reason is not Reason.OUTCOME_UNKNOWN, outcome.metadata.get("instance", "")
        values = _outcome_values(None, outcome, None)
    return {
        "namespace": entry.namespace,
        "key": entry.key.encode(),
        "instance_id": instance_id,
        "is_final": is_final,
        "ended": to_micros(time),
        **values,
    }


def effect_of(row: Row[Any]) -> EffectRecord:
    """Reads an effect, with its owner's sign of life."""
    entry = Entry(row.namespace, row.key.decode(), row.function, row.arguments_hash, row.call_id)
    outcome: Outcome | None = None
    if row.ended is not None:
        outcome = _error(row.error)
        if outcome is None:
            outcome = Answer(_content(row.result, row.artifact), row.call_id, row.instance_id, _timing(row.timing) or Timing())
    return EffectRecord(entry, row.owner, row.beat, row.instance_id, outcome)


def call_row(call: StartedCall) -> dict[str, Any]:
    """Writes a started call that is new."""
    request = call.request
    data, artifact = _content_values(request.arguments)
    options = {
        "idempotency_key": request.idempotency_key,
        "priority": request.priority,
        "affinity_key": request.affinity_key,
        "labels": dict(request.labels or {}),
        "parent_call_id": request.parent_call_id,
        "scope": list(request.scope),
        "run_id": request.run_id,
        "approval_wait": request.approval_wait,
    }
    return {
        "namespace": request.namespace,
        "id": call.id,
        "agent": request.agent,
        "function": request.function,
        "arguments": data,
        "arguments_artifact": artifact,
        "options": orjson.dumps(options),
        "principal": request.principal,
        "caller": request.caller.uri,
        "traceparent": request.traceparent,
        "effect": call.effect.value,
        "owner": call.owner,
        "cancel_requested": call.cancel_requested,
        "created": to_micros(call.create_time),
        "deadline": to_micros(call.deadline),
        **call_changes(call),
    }


def call_changes(call: StartedCall) -> dict[str, Any]:
    """Writes of a started call what changes while it goes on."""
    progress = call.progress
    return {
        "state": call.state.value,
        "instance_id": call.instance_id,
        "attempts": call.attempts,
        # As a text of the number, since JSON knows none that is infinite or no number.
        "progress": None if progress is None else orjson.dumps([repr(progress.fraction), progress.message]),
        "item_count": call.item_count,
        "cancellation": call.cancellation,
    }


def call_end(call: StartedCall) -> dict[str, Any]:
    """Writes how a started call ended."""
    ended = None if call.end_time is None else to_micros(call.end_time)
    return {**_outcome_values(call.result, call.error, call.timing), "ended": ended}


def call_of(row: Row[Any]) -> StartedCall:
    """Reads a started call; one that is read without its values has empty arguments and no result."""
    values = row._mapping  # noqa: SLF001 - SQLAlchemy's public way to a row's names
    options: dict[str, Any] = orjson.loads(row.options)
    request = Request(
        agent=row.agent,
        function=row.function,
        arguments=_content(values.get("arguments"), values.get("arguments_artifact")) or b"",
        caller=Identity.parse(row.caller) or ANONYMOUS,
        namespace=row.namespace,
        principal=row.principal,
        idempotency_key=options["idempotency_key"],
        priority=options["priority"],
        affinity_key=options["affinity_key"],
        labels=options["labels"],
        parent_call_id=options["parent_call_id"],
        # A dispatcher of the version before writes none.
        scope=_scope(*options.get("scope", WHOLE)),
        run_id=options.get("run_id", ""),
        call_id=row.id,
        traceparent=row.traceparent,
        approval_wait=options.get("approval_wait", True),  # one that was started before there were approvals says nothing
    )
    progress = None if row.progress is None else orjson.loads(row.progress)
    return StartedCall(
        id=row.id,
        request=request,
        effect=Effect(row.effect),
        create_time=to_time(row.created),
        deadline=to_time(row.deadline),
        owner=row.owner,
        state=CallState(row.state),
        instance_id=row.instance_id,
        attempts=row.attempts,
        progress=None if progress is None else Progress(float(progress[0]), progress[1]),
        item_count=row.item_count,
        cancel_requested=row.cancel_requested,
        cancellation=row.cancellation,
        result=_content(values.get("result"), values.get("artifact")),
        error=_error(row.error),
        timing=_timing(row.timing),
        end_time=None if row.ended is None else to_time(row.ended),
    )


def item_row(key: Key, position: int, item: Content) -> dict[str, Any]:
    """Writes an item of a started call."""
    data, artifact = _content_values(item)
    return {"namespace": key[0], "call": key[1], "position": position, "size": size_of(item), "value": data, "artifact": artifact}


def item_of(row: Row[Any, Any]) -> Content:
    """Reads an item."""
    return _content(row.value, row.artifact) or b""


def size_of(content: Content) -> int:
    """Returns about how many bytes a value takes here; what an artifact names lies elsewhere."""
    return len(content) if isinstance(content, bytes) else 128


def _outcome_values(result: Content | None, error: ParadeError | None, timing: Timing | None) -> dict[str, Any]:
    data, artifact = (None, None) if result is None else _content_values(result)
    return {
        "result": data,
        "artifact": artifact,
        "error": None if error is None else orjson.dumps(_error_facts(error)),
        "timing": None if timing is None else orjson.dumps([timing.queued, timing.transport, timing.executing]),
    }


def _content_values(content: Content) -> tuple[bytes | None, bytes | None]:
    if isinstance(content, bytes):
        return content, None
    return None, orjson.dumps([content.digest, content.size, content.media_type])


def _content(data: bytes | None, artifact: bytes | None) -> Content | None:
    return data if artifact is None else Artifact(*orjson.loads(artifact))


def _scope(functions: Sequence[str], actors: Sequence[str], transaction: str) -> Scope:
    return Scope(tuple(functions), tuple(actors), transaction)


def _timing(data: bytes | None) -> Timing | None:
    return None if data is None else Timing(*orjson.loads(data))


def _error_facts(error: ParadeError) -> dict[str, Any]:
    return {
        "reason": error.reason.value,
        "message": error.message,
        "violations": [[violation.field, violation.description, violation.line] for violation in error.violations],
        "metadata": error.metadata,
        "retryable": error.retryable,
    }


def _error(data: bytes | None) -> ParadeError | None:
    if data is None:
        return None
    facts: dict[str, Any] = orjson.loads(data)
    return ParadeError(
        Reason.named(facts["reason"], Reason.INTERNAL),
        facts["message"],
        violations=[Violation(*violation) for violation in facts["violations"]],
        metadata=facts["metadata"],
        retryable=facts["retryable"],
    )
