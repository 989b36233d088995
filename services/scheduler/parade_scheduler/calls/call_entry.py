"""A step's call as it goes into a session, encoded. Pure.

It is put together as bytes, as `parade.wire.session.frames` does with frames: to make a message of it takes more than twice as long.
"""

from functools import lru_cache
from typing import Final

from parade.v1 import call_pb2, session_pb2
from parade.wire.session.frames import varint
from parade_scheduler.decider import Dispatch
from parade_scheduler.model import Run

# The tags of the fields that are written here, all of one byte: the field's number times eight, and 2 where bytes follow with their length.
_ARGUMENTS: Final = b"\x1a"
_OPTIONS: Final = b"\x32"
_ORIGIN: Final = b"\x3a"
_TRACEPARENT: Final = b"\x42"
_DATA: Final = b"\x0a"
_AFFINITY_KEY: Final = b"\x1a"
_CALL_ID: Final = b"\x32"
_SECRET: Final = b"\x42"
_RUN_ID: Final = b"\x1a"
_STEP: Final = b"\x22"

_REDELIVERED: Final = call_pb2.CallOptions(redelivered=True).SerializeToString()
_STEP_REDELIVERED: Final = session_pb2.SessionCall(step_redelivered=True).SerializeToString()


# Of a call that may have been made under the same id the dispatcher looks for the outcome. One that an earlier attempt may have made has
# another id, under which nothing was written: then an effect is not called, and its outcome stays unknown.
def call_entry(run: Run, dispatch: Dispatch, call_id: str, traceparent: str) -> bytes:
    """Encodes a call for `Link.send`.

    Args:
        run: The run that it belongs to.
        dispatch: What is to be called.
        call_id: The call's id.
        traceparent: What the call's spans hang under.
    """
    options = _field(_CALL_ID, call_id.encode())
    if dispatch.affine:
        options += _field(_AFFINITY_KEY, run.id.encode())
    if run.priority:
        options += _priority(run.priority)
    if dispatch.resumed:
        options += _REDELIVERED
    for secret in dispatch.secrets:
        options += _field(_SECRET, secret.encode())
    origin = b"".join((_caller(run.namespace, run.principal), _field(_RUN_ID, run.id.encode()), _field(_STEP, dispatch.step.encode())))
    entry = (
        _function(dispatch.function),
        _field(_ARGUMENTS, _field(_DATA, dispatch.arguments.data)),
        _field(_OPTIONS, options),
        _field(_ORIGIN, origin),
        _field(_TRACEPARENT, traceparent.encode()) if traceparent else b"",
        _STEP_REDELIVERED if dispatch.redelivered else b"",
    )
    return b"".join(entry)


def _field(tag: bytes, content: bytes) -> bytes:
    return b"".join((tag, varint(len(content)), content))


@lru_cache(maxsize=1024)
def _function(full_name: str) -> bytes:
    return session_pb2.SessionCall(function=full_name).SerializeToString()


@lru_cache(maxsize=256)
def _priority(priority: int) -> bytes:
    return call_pb2.CallOptions(priority=priority).SerializeToString()


@lru_cache(maxsize=1024)
def _caller(namespace: str, principal: str) -> bytes:
    return call_pb2.CallOrigin(namespace=namespace, principal=principal).SerializeToString()
