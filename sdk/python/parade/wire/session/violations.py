"""What breaks the rules of a session that need no memory: the shape of one frame. Each message names its rule."""

import re

from parade.v1 import session_pb2
from parade.wire.errors import ParadeError, Reason
from parade.wire.session.limits import MAX_ENTRIES, MAX_FRAME_BYTES

SESSION_ID = re.compile(r"[A-Za-z0-9_-]{16,64}")


def violation(rule: str) -> ParadeError:
    """Makes the error that ends a session."""
    return ParadeError(Reason.INVALID_ARGUMENTS, f"the session's rules are broken: {rule}")


def check_first(frame: session_pb2.SessionFrame) -> session_pb2.SessionHello:
    """Returns the hello of a stream's first frame.

    Raises:
        ParadeError: INVALID_ARGUMENTS. It has none, or holds something else too.
    """
    fields = [field.name for field, _ in frame.ListFields()]
    if "hello" not in fields:
        raise violation("the first frame of a stream holds its hello")
    if len(fields) > 1:
        raise violation(f"the first frame holds the hello and nothing else, but it holds {fields[1]}")
    if not SESSION_ID.fullmatch(frame.hello.session_id):
        raise violation('hello.session_id is 16 to 64 letters, digits, "_" or "-"')
    return frame.hello


def check_opener_hello(hello: session_pb2.SessionHello) -> None:
    """Checks what an opener says in its hello.

    Raises:
        ParadeError: INVALID_ARGUMENTS.
    """
    if hello.max_calls:
        raise violation("hello.max_calls is for the acceptor to say")
    if hello.outstanding and not hello.resume:
        raise violation("hello.outstanding is for a session that is resumed")
    if len({outstanding.number for outstanding in hello.outstanding}) < len(hello.outstanding):
        raise violation("hello.outstanding names each call once")


def check_from_opener(frame: session_pb2.SessionFrame) -> None:
    """Checks a later frame from an opener.

    Raises:
        ParadeError: INVALID_ARGUMENTS.
    """
    if frame.HasField("hello"):
        raise violation("only the first frame of a stream holds a hello")
    if frame.results:
        raise violation("results come from the acceptor")
    if frame.events:
        raise violation("events come from the acceptor")
    if frame.drain:
        raise violation("drain comes from the acceptor")
    if len(frame.calls) > MAX_ENTRIES:
        raise violation(f"a frame holds at most {MAX_ENTRIES} calls, not {len(frame.calls)}")


def check_from_acceptor(frame: session_pb2.SessionFrame) -> None:
    """Checks a later frame from an acceptor.

    Raises:
        ParadeError: INVALID_ARGUMENTS.
    """
    if frame.HasField("hello"):
        raise violation("only the first frame of a stream holds a hello")
    if frame.calls or frame.cancels or frame.credits or frame.acknowledged:
        raise violation("calls, cancels, credits and acknowledged come from the opener")
    if len(frame.results) > MAX_ENTRIES:
        raise violation(f"a frame holds at most {MAX_ENTRIES} results, not {len(frame.results)}")
    if len(frame.events) > MAX_ENTRIES:
        raise violation(f"a frame holds at most {MAX_ENTRIES} events, not {len(frame.events)}")


def check_size(frame: session_pb2.SessionFrame, size: int) -> None:
    """Checks the size of a frame.

    Raises:
        ParadeError: INVALID_ARGUMENTS.
    """
    if size <= MAX_FRAME_BYTES:
        return
    entries = [entry.ByteSize() for kind in (frame.calls, frame.results, frame.events) for entry in kind]
    # What stands beside an entry that is too large by itself may only be what a frame needs anyway.
    if not entries or (max(entries) <= MAX_FRAME_BYTES - 16 or size - max(entries) > MAX_FRAME_BYTES):
        raise violation(f"a frame holds at most {MAX_FRAME_BYTES} bytes unless one entry alone is larger, not {size}")
