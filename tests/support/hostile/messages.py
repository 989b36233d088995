"""Messages as nobody would send them: field by field after a descriptor, and byte by byte after a message."""

import random
from typing import Any

from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from hypothesis import strategies as st

DEPTH = 4
"""How deep messages are filled; what lies deeper is empty."""

_ZEROS = "0" * 64
WORDS = (
    "",
    "tested",
    "tested.echo",
    "tested.identify",
    "tested.nothing",
    "StartRun",
    "PutWorkflow",
    "default",
    "intruder",
    "i-00000000",
    "../../../../etc/passwd",
    "\x00",
    "a" * 300,
    "é✓\U0001f600\u202e",
    "' OR 1=1 --",
    "%s%n{}${{ secrets.x }}",
    "spiffe://parade.local/service/gateway",
    f"sha256:{_ZEROS}",
    f"00-{_ZEROS[:31]}1-{_ZEROS[:15]}1-01",
    "application/x-protobuf",
    "0123456789abcdef0123",
    "2026-02-30T25:61:61Z",
    "*/0 * 32 * 9",
    "name: w\nsteps:\n  a:\n    call: tested.echo\n    with: {text: '${{ inputs.x }}'}\n",
    "name: w\non: {event: e}\nsteps: {a: {wait: 99999999999d}, b: {run: w, needs: [a, b]}}\n",
    "a: &a [*a]\n",
    "${{ " + "(" * 200 + "1" + ")" * 200 + " }}",
    "{" * 200,
    "state = 'x' AND (((",
)
"""Texts that mean something somewhere in the mesh, rightly or wrongly."""
DATA = (
    b"",
    b"{}",
    b"null",
    b'{"text": "x"}',
    b'{"text": "\\ud800"}',
    b'{"text": 1e999}',
    b'{"text": NaN}',
    b'{"a": 1, "a": 2}',
    b"[" * 2000,
    b'{"a":' * 500 + b"1" + b"}" * 500,
    b"\xff\xfe",
    b'"' + b"x" * 5000 + b'"',
    b"123456789012345678901234567890",
    b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n",
)
NUMBERS = (0, 1, 2, 3, 63, 64, 100, 1000, 2**31 - 1, 2**32 - 1, 2**53, 2**63 - 1, 2**64 - 1)
FLOATS = (0.0, -0.0, 0.05, 1.0, -1.0, 1e300, 5e-324, float("inf"), float("-inf"), float("nan"))

_WHOLE = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}


@st.composite
def messages(draw: st.DrawFn, descriptor: Descriptor, depth: int = DEPTH) -> Message:
    """Makes messages of a type whose fields hold what they may hold, and nobody expects."""
    made = message_factory.GetMessageClass(descriptor)()
    for field in descriptor.fields:
        if draw(_CHANCE) < 4:
            _fill(draw, made, field, depth)
    return made


def mutated(data: bytes, chance: random.Random) -> bytes:
    """Returns the bytes with one fault: most are no message any more, some are another."""
    mutable = bytearray(data)
    place = chance.randrange(len(mutable) + 1)
    match chance.randrange(8):
        case 0 if place < len(mutable):
            mutable[place] ^= 1 << chance.randrange(8)
        case 1:
            del mutable[place : place + chance.randrange(1, 8)]
        case 2:
            mutable[place:place] = chance.randbytes(chance.randrange(1, 8))
        case 3:
            del mutable[place:]
        case 4:
            mutable[place:place] = _varint(chance.choice(NUMBERS))
        case 5:  # a field that nobody knows, of any wire type
            mutable += _varint(chance.randrange(1, 2**29) << 3 | chance.randrange(8)) + chance.randbytes(chance.randrange(8))
        case 6:
            other = chance.randrange(len(mutable) + 1)
            mutable[place:place] = mutable[min(place, other) : max(place, other)]
        case _:
            mutable[place : place + 1] = b"\xff" * chance.randrange(1, 12)
    return bytes(mutable)


_CHANCE = st.integers(0, 9)


def _fill(draw: st.DrawFn, message: Any, field: FieldDescriptor, depth: int) -> None:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        key, value = field.message_type.fields_by_name["key"], field.message_type.fields_by_name["value"]
        for _ in range(draw(st.integers(1, 3))):
            name = draw(_scalars(key))
            if value.message_type is None:
                getattr(message, field.name)[name] = draw(_scalars(value))
            elif depth:
                getattr(message, field.name)[name].CopyFrom(draw(messages(value.message_type, depth - 1)))
    elif field.message_type is not None:
        if not depth:
            return
        # Well-known types take what they are made of: seconds and nanoseconds outside every range, for example.
        if field.is_repeated:
            getattr(message, field.name).extend(draw(st.lists(messages(field.message_type, depth - 1), max_size=3)))
        else:
            getattr(message, field.name).CopyFrom(draw(messages(field.message_type, depth - 1)))
    elif field.is_repeated:
        getattr(message, field.name).extend(draw(st.lists(_scalars(field), min_size=1, max_size=4)))
    else:
        setattr(message, field.name, draw(_scalars(field)))


def _scalars(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    kind = field.cpp_type
    if kind == FieldDescriptor.CPPTYPE_BOOL:
        return st.booleans()
    if kind == FieldDescriptor.CPPTYPE_ENUM:
        return st.sampled_from([0, 1, 2, 3, 4, 5, 77, -1])
    if kind in _WHOLE:
        least, most = _WHOLE[kind]
        return st.sampled_from([number for number in (*NUMBERS, -1, least) if least <= number <= most])
    if kind in (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT):
        return st.sampled_from(FLOATS)
    return st.sampled_from(DATA if field.type == FieldDescriptor.TYPE_BYTES else WORDS)


def _varint(number: int) -> bytes:
    encoded = b""
    while number > 127:
        encoded += bytes([number & 127 | 128])
        number >>= 7
    return encoded + bytes([number])
