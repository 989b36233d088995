"""Builds frames out of entries that are encoded already, so that each is encoded once. Knows the limits of a frame, no other rule.

A protobuf message is the concatenation of its fields (https://protobuf.dev/programming-guides/encoding/), so a frame is put together as
bytes.
"""

from parade.wire.session.limits import FULL_FRAME, LEFT_OVER, MAX_FRAME_BYTES

CALL = b"\x12"
"""The tag of `SessionFrame.calls`: field 2, length-delimited."""
RESULT = b"\x1a"
"""The tag of `SessionFrame.results`: field 3, length-delimited."""
EVENT = b"\x22"
"""The tag of `SessionFrame.events`: field 4, length-delimited."""

_OVERHEAD = 6
"""What an entry takes beside itself at most: its tag and its length."""


def _encoded(number: int) -> bytes:
    encoded = bytearray()
    while number > 127:
        encoded.append(number & 127 | 128)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


_VARINTS = [_encoded(number) for number in range(1024)]
_LOWEST = [bytes([low | 128]) for low in range(128)]
"""The lowest seven bits of a number that has more."""


def varint(number: int) -> bytes:
    """Encodes a whole number, at least 0."""
    if number < 1024:
        return _VARINTS[number]
    if number < 131_072:
        return _LOWEST[number & 127] + _VARINTS[number >> 7]
    return _encoded(number)


class FrameBuilder:
    """One frame on its way together."""

    __slots__ = ("_most", "_parts", "calls", "events", "results", "size")

    def __init__(self, controls: bytes = b"", waiting: int = 0) -> None:
        """Begins a frame.

        Args:
            controls: What is no entry: acknowledgements, cancels, credits.
            waiting: How many entries there are for it and those after it.
        """
        self._parts = [controls] if controls else []
        self._most = waiting if FULL_FRAME < waiting <= FULL_FRAME + LEFT_OVER else FULL_FRAME
        self.size = len(controls)
        self.calls = 0
        self.results = 0
        self.events = 0

    @property
    def entries(self) -> int:
        """How many entries it holds."""
        return self.calls + self.results + self.events

    def add(self, tag: bytes, entry: bytes, end: bytes = b"") -> bool:
        """Adds an entry, which may come in two pieces; returns False, and adds nothing, where there is no room for it."""
        length = len(entry) + len(end)
        size = self.size + length + _OVERHEAD
        if size > MAX_FRAME_BYTES and (length <= MAX_FRAME_BYTES - _OVERHEAD or self.size):
            return False
        if tag is RESULT:
            if self.results == self._most:
                return False
            self.results += 1
        elif tag is CALL:
            if self.calls == self._most:
                return False
            self.calls += 1
        else:
            if self.events == self._most:
                return False
            self.events += 1
        self._parts += (tag, _VARINTS[length] if length < 1024 else varint(length), entry, end)
        self.size = size
        return True

    def encoded(self) -> bytes:
        """Returns the frame; empty where it holds nothing."""
        return b"".join(self._parts)
