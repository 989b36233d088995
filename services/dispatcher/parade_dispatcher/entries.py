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
_OPTIONS_CALL_ID = b"\x32"
_RESULT_VALUE = b"\x12"
_RESULT_CALL_ID = b"\x22"
_RESULT_INSTANCE_ID = b"\x2a"
_RESULT_QUEUED = b"\x30"
_RESULT_TRANSPORT = b"\x38"
_RESULT_EXECUTING = b"\x40"


def call_head(full_name: str, call: model.Call) -> bytes:
    """Encodes what calls of a function for the same principal have in common."""
    origin = call_pb2.CallOrigin(namespace=call.namespace, principal=call.principal)
    return session_pb2.SessionCall(function=full_name, origin=origin).SerializeToString()


def call_entry(head: bytes, call: model.Call) -> session_pb2.SessionCall | bytes:
    """Encodes what an instance is asked to run.

    Args:
        head: What `call_head` gave.
        call: What it is asked to run.

    Returns:
        The call for `Link.send`: as bytes, and as a message where it has something that is not usual.
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
    if not (call.window or call.traceparent or call.run_id or call.attach):
        return entry
    message = session_pb2.SessionCall.FromString(entry)
    message.window, message.traceparent, message.attach = call.window, call.traceparent, call.attach
    message.origin.run_id, message.origin.step = call.run_id, call.step
    return message


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


def _text(tag: bytes, text: str) -> bytes:
    encoded = text.encode()
    return tag + varint(len(encoded)) + encoded


@lru_cache(maxsize=1024)
def _instance_id(instance_id: str) -> bytes:
    return _text(_RESULT_INSTANCE_ID, instance_id)
