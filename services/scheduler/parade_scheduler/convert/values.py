"""Between the contract's values, times and errors and the model's, both ways; pure."""

from datetime import UTC, datetime
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from parade.v1 import error_pb2, progress_pb2, value_pb2
from parade.wire.errors import ParadeError
from parade.wire.status import to_record
from parade_scheduler.document import Document
from parade_scheduler.model import Failure, Progress

JSON: Final = "application/json"


def to_value(document: Document | None) -> value_pb2.Value | None:
    """Writes a JSON value."""
    return None if document is None else value_pb2.Value(data=document.data, media_type=JSON)


def to_progress(progress: Progress) -> progress_pb2.Progress:
    """Encodes a progress note."""
    return progress_pb2.Progress(fraction=progress.fraction, message=progress.message)


def to_error(failure: Failure | None) -> error_pb2.Error | None:
    """Writes why something failed."""
    return None if failure is None else to_record(error_of(failure))


def error_of(failure: Failure) -> ParadeError:
    """Makes the error again of which this is the record."""
    return ParadeError(
        failure.reason, failure.message, violations=failure.violations, metadata=failure.metadata, retryable=failure.retryable
    )


def to_timestamp(time: datetime | None) -> Timestamp | None:
    """Writes a time."""
    if time is None:
        return None
    timestamp = Timestamp()
    timestamp.FromDatetime(time)
    return timestamp


def time_of(timestamp: Timestamp) -> datetime:
    """Reads a time."""
    return timestamp.ToDatetime(UTC)


class Room:
    """What is left of a message for values. Those that find no place are left out."""

    def __init__(self, size: int) -> None:
        """Takes how many bytes there are."""
        self._left = size

    def value(self, document: Document | None) -> value_pb2.Value | None:
        """Writes a JSON value where it finds place."""
        if document is None or len(document.data) > self._left:
            return None
        self._left -= len(document.data)
        return to_value(document)
