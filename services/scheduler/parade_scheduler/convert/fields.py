"""Reads the fields of requests and gathers every fault in them, so that one answer names them all; pure."""

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from google.protobuf.timestamp_pb2 import Timestamp

from parade.v1 import value_pb2
from parade.wire.errors import ParadeError, Violation
from parade_scheduler.convert.values import JSON, time_of
from parade_scheduler.document import MAX_BYTES, Document, type_name
from parade_scheduler.refusal import refused

MAX_LABELS: Final = 32
MAX_REQUEST_ID: Final = 128
MAX_REASON: Final = 1000
MAX_TERMS: Final = 32
"""By how many labels, or inputs, runs may be looked for at once: each is a join."""
MAX_TERM: Final = 200
"""How long `name=value` may be in UTF-8, where runs are looked for by it."""
MIN_PRIORITY: Final = -100
MAX_PRIORITY: Final = 100

_LABEL_KEY: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,62}")
_LABEL_VALUE: Final = re.compile(r"[^\x00-\x1f]{0,255}")
_CONTROL: Final = re.compile(r"[\x00-\x1f]")
_UNFIT: Final = re.compile(r"[\x00-\x08\x0b-\x1f]")
"""What a text for people must not hold: control characters but tabs and line ends."""


class Fields:
    """The fields of one request, as they are read one after the other."""

    def __init__(self) -> None:
        """Starts without a fault."""
        self._faults: list[Violation] = []

    def fault(self, field: str, description: str) -> None:
        """Notes a fault."""
        self._faults.append(Violation(field, description))

    def check(self, message: str) -> None:
        """Raises INVALID_ARGUMENTS with every fault that was found, where there is one; `message` says what was refused."""
        if self._faults:
            raise refused(self._faults, message)

    def required(self, field: str, text: str) -> str:
        """Reads a text that must not be empty, such as an id."""
        if not text:
            self.fault(field, "must be given")
        return text

    def named(self, field: str, text: str, pattern: "re.Pattern[str]", rule: str) -> str:
        """Reads a name that has to fit a pattern, which `rule` says in words."""
        if not pattern.fullmatch(text):
            self.fault(field, rule)
        return text

    def request_id(self, text: str, maximum: int = MAX_REQUEST_ID, field: str = "request_id") -> str:
        """Reads what a request is named."""
        if len(text) > maximum or _CONTROL.search(text):
            self.fault(field, f"has at most {maximum} characters, none of them control characters")
        return text

    def note(self, field: str, text: str) -> str:
        """Reads what somebody says for the history."""
        if len(text) > MAX_REASON:
            self.fault(field, f"has at most {MAX_REASON:,} characters, this has {len(text):,}")
        elif _UNFIT.search(text):
            self.fault(field, "has no control characters but tabs and line ends")
        return text

    def whole(self, field: str, number: int) -> int:
        """Reads a number that must not be negative."""
        if number < 0:
            self.fault(field, "must not be negative")
        return number

    def priority(self, number: int) -> int:
        """Reads a priority."""
        if not MIN_PRIORITY <= number <= MAX_PRIORITY:
            self.fault("priority", f"is from {MIN_PRIORITY} to {MAX_PRIORITY}")
        return number

    def labels(self, labels: Mapping[str, str]) -> dict[str, str]:
        """Reads the labels of a new run."""
        if len(labels) > MAX_LABELS:
            self.fault("labels", f"has at most {MAX_LABELS} entries, this has {len(labels)}")
        for key, value in sorted(labels.items()):
            if not _LABEL_KEY.fullmatch(key):
                self.fault(f"labels.{key[:63]}", "a key is 1 to 63 letters, digits, `.`, `_`, `/` or `-`, the first a letter or digit")
            if not _LABEL_VALUE.fullmatch(value):
                self.fault(f"labels.{key[:63]}", "a value has at most 255 characters, none of them control characters")
        return dict(labels)

    def document(self, field: str, value: value_pb2.Value, otherwise: bytes) -> Document:
        """Reads a JSON value, `otherwise` where there is none."""
        document = Document(value.data or otherwise)
        if value.media_type not in ("", JSON):
            self.fault(f"{field}.media_type", f'must be "{JSON}"')
        elif len(document.data) > MAX_BYTES:
            self.fault(field, f"has at most {MAX_BYTES // 1024 // 1024} MiB")
        else:
            try:
                _ = document.value
            except ParadeError as error:
                self.fault(field, error.message)
        return document

    def object(self, field: str, value: value_pb2.Value) -> dict[str, Any]:
        """Reads a JSON object, an empty one where there is none."""
        document = self.document(field, value, b"{}")
        try:
            decoded = document.value
        except ParadeError:
            return {}  # noted already
        if not isinstance(decoded, dict):
            self.fault(field, f"is an object, this is {type_name(decoded)}")
            return {}
        return decoded

    def terms(self, field: str, texts: Iterable[str], kind: str) -> frozenset[tuple[str, str]]:
        """Reads what runs are to have, each `key=value`."""
        found: set[tuple[str, str]] = set()
        texts = list(texts)
        if len(texts) > MAX_TERMS:
            self.fault(field, f"has at most {MAX_TERMS} entries, this has {len(texts):,}")
            return frozenset()
        for text in texts:
            key, separator, value = text.partition("=")
            if not separator or not key or "\x00" in text:
                self.fault(field, f"`{text[:80]}` is no {kind}; write `{'key' if kind == 'label' else 'name'}=value`")
            elif kind == "input" and len(text.encode()) > MAX_TERM:
                self.fault(field, f"`{text[:80]}…` has more than {MAX_TERM} bytes; runs are not found by longer ones")
            else:
                found.add((key, value))
        return frozenset(found)

    def period(self, since: Timestamp | None, before: Timestamp | None) -> tuple[datetime | None, datetime | None]:
        """Reads from when on and before when."""
        return self._time("start_time", since), self._time("end_time", before)

    def _time(self, field: str, timestamp: Timestamp | None) -> datetime | None:
        if timestamp is None:
            return None
        try:
            return time_of(timestamp)
        except (ValueError, OverflowError):
            self.fault(field, "is no time between the years 1 and 9999")
            return None
