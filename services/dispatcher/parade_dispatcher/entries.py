"""Calls and results as they go into sessions, encoded. Pure.

They are put together as bytes, as `parade.wire.session.frames` does with frames: to make a message of each would take three times as
long, and what a call costs here is made of such steps.
"""

from functools import lru_cache

from parade.v1 import call_pb2, session_pb2
from parade.wire.session.frames import varint
from parade_dispatcher import convert, model

# The tags of the fields that are written here, all of one byte: the field's number times eight, and 2 where bytes follow with their length.
_DATA = b"\x0a"
_CALL_ARGUMENTS = b"\x1a"
_CALL_OPTIONS = b"\x32"
_CALL_ORIGIN = b"\x3a"
_CALL_TRACEPARENT = b"\x42"
_ORIGIN_STEP = b"\x22"
_OPTIONS_CALL_ID = b"\x32"
_RESULT_VALUE = b"\x12"
_RESULT_CALL_ID = b"\x22"
_RESULT_INSTANCE_ID = b"\x2a"
_RESULT_QUEUED = b"\x30"
_RESULT_TRANSPORT = b"\x38"
_RESULT_EXECUTING = b"\x40"
_EVENT_INSTANCE_ID = b"\x12"

_ATTACH = session_pb2.SessionCall(attach=True).SerializeToString()


def call_head(full_name: str, call: model.Call, mandate: bytes) -> bytes:
    """Encodes what calls of a function by the same mandate have in common."""
    origin = call_pb2.CallOrigin(namespace=call.namespace, principal=call.principal, run_id=call.run_id, mandate=mandate)
    return session_pb2.SessionCall(function=full_name, origin=origin).SerializeToString()


def call_entry(head: bytes, call: model.Call) -> bytes:
    """Encodes what an instance is asked to run, for `Link.send`, which adds the window.

    Args:
        head: What `call_head` gave.
        call: What it is asked to run.
    """
    arguments, call_id = call.arguments, call.id.encode()
    if type(arguments) is not bytes:
        arguments = convert.value(arguments).SerializeToString()
        value = varint(len(arguments))
    else:
        length = varint(len(arguments))
        value = b"".join((varint(len(arguments) + len(length) + 1), _DATA, length))
    own = varint(len(call_id))
    entry = b"".join(
        (head, _CALL_ARGUMENTS, value, arguments, _CALL_OPTIONS, varint(len(call_id) + len(own) + 1), _OPTIONS_CALL_ID, own, call_id)
    )
    if call.step:
        # Of a message that comes twice in a field the second is merged into the first, which is in the head.
        step = call.step.encode()
        own = varint(len(step))
        entry = b"".join((entry, _CALL_ORIGIN, varint(len(step) + len(own) + 1), _ORIGIN_STEP, own, step))
    if call.traceparent:
        entry += _text(_CALL_TRACEPARENT, call.traceparent)
    if call.secrets:  # merged with the options that hold the id, as above
        options = call_pb2.CallOptions(secrets=call.secrets).SerializeToString()
        entry = b"".join((entry, _CALL_OPTIONS, varint(len(options)), options))
    return entry + _ATTACH if call.attach else entry


def result_entry(answer: model.Answer, *, names_call: bool) -> bytes:
    """Encodes how a call ended well, for `Exchange.answer`; its id only where the caller did not make it."""
    content, took = answer.result, answer.timing
    value = b""
    if type(content) is bytes:
        length = varint(len(content))
        value = b"".join((_RESULT_VALUE, varint(len(content) + len(length) + 1), _DATA, length))
    elif content is None:
        content = b""
    else:
        content = convert.value(content).SerializeToString()
        value = _RESULT_VALUE + varint(len(content))
    entry = b"".join(
        (
            value,
            content,
            _instance_id(answer.instance_id),
            _RESULT_QUEUED,
            varint(int(took.queued * 1e6)),
            _RESULT_TRANSPORT,
            varint(int(took.transport * 1e6)),
            _RESULT_EXECUTING,
            varint(int(took.executing * 1e6)),
        )
    )
    return entry + _text(_RESULT_CALL_ID, answer.call_id) if names_call else entry


@lru_cache(maxsize=1024)
def assigned_entry(instance_id: str) -> bytes:
    """Encodes which instance has a call, for `Exchange.mention`."""
    return _text(_EVENT_INSTANCE_ID, instance_id)


def _text(tag: bytes, text: str) -> bytes:
    encoded = text.encode()
    return tag + varint(len(encoded)) + encoded


@lru_cache(maxsize=1024)
def _instance_id(instance_id: str) -> bytes:
    return _text(_RESULT_INSTANCE_ID, instance_id)
