"""The distinguished encoding rules of ASN.1, as much of them as certificates need. It knows encodings, and no certificate.

It reads strictly: what has more than one encoding, or runs past its end, is refused. Source: ITU-T X.690, chapters 8 and 10.
"""

from datetime import UTC, datetime
from typing import Final, NamedTuple

BOOLEAN: Final = 0x01
INTEGER: Final = 0x02
BIT_STRING: Final = 0x03
OCTET_STRING: Final = 0x04
OBJECT_IDENTIFIER: Final = 0x06
UTC_TIME: Final = 0x17
GENERALIZED_TIME: Final = 0x18
SEQUENCE: Final = 0x30


class Element(NamedTuple):
    """One value with its tag."""

    tag: int
    """The identifier octet: class, whether constructed, and number."""
    content: bytes
    """What stands between the length and the end."""


def elements(encoded: bytes) -> list[Element]:
    """Reads values that stand one after the other, as in a sequence.

    Raises:
        ValueError: The bytes are no such values.
    """
    found = []
    start, size = 0, len(encoded)
    while start < size:
        tag = encoded[start]
        if tag & 0x1F == 0x1F:
            raise ValueError("a tag number above 30")
        if start + 2 > size:
            raise ValueError("a value without a length")
        length, start = encoded[start + 1], start + 2
        if length >= 0x80:
            digits = length & 0x7F
            if not 1 <= digits <= 4 or start + digits > size:
                raise ValueError("a length that cannot be")
            length, start = int.from_bytes(encoded[start : start + digits]), start + digits
            if length < 0x80 or length >> (8 * (digits - 1)) == 0:
                raise ValueError("a length that has a shorter form")
        if start + length > size:
            raise ValueError("a value that runs past its end")
        found.append(Element(tag, encoded[start : start + length]))
        start += length
    return found


def only(encoded: bytes, tag: int) -> bytes:
    """Returns the content of the one value of that tag that `encoded` is.

    Raises:
        ValueError: It is something else.
    """
    found = elements(encoded)
    if len(found) != 1:
        raise ValueError(f"{len(found)} values in place of one")
    return content(found[0], tag)


def content(element: Element, tag: int) -> bytes:
    """Returns the content of a value of that tag.

    Raises:
        ValueError: It has another.
    """
    if element.tag != tag:
        raise ValueError(f"tag {element.tag:#04x} in place of {tag:#04x}")
    return element.content


def integer(element: Element) -> int:
    """Returns a whole number.

    Raises:
        ValueError: It is none, or has a shorter form.
    """
    encoded = content(element, INTEGER)
    if not encoded or (len(encoded) > 1 and ((encoded[0] == 0 and encoded[1] < 0x80) or (encoded[0] == 0xFF and encoded[1] >= 0x80))):
        raise ValueError("a number that has a shorter form")
    return int.from_bytes(encoded, signed=True)


def boolean(element: Element) -> bool:
    """Returns a truth value.

    Raises:
        ValueError: It is none.
    """
    encoded = content(element, BOOLEAN)
    if encoded not in (b"\x00", b"\xff"):
        raise ValueError("a truth value that is neither")
    return encoded == b"\xff"


def bits(element: Element) -> bytes:
    """Returns a string of bits that fills whole octets.

    Raises:
        ValueError: It is none.
    """
    encoded = content(element, BIT_STRING)
    if encoded[:1] != b"\x00":
        raise ValueError("bits that fill no octet")
    return encoded[1:]


def seconds(element: Element) -> float:
    """Returns a time, in seconds since 1970.

    Source of the forms and of the century: RFC 5280, 4.1.2.5.

    Raises:
        ValueError: It is none.
    """
    text = element.content.decode("ascii")
    if element.tag == UTC_TIME and len(text) == len("YYMMDDHHMMSSZ"):
        text = ("20" if text < "50" else "19") + text
    elif element.tag != GENERALIZED_TIME or len(text) != len("YYYYMMDDHHMMSSZ"):
        raise ValueError("a time in no form that certificates have")
    if text[-1] != "Z" or not text[:-1].isdigit():
        raise ValueError("a time that is not in digits, or of a zone")
    year, month, day, hour, minute, second = int(text[:4]), *(int(text[place : place + 2]) for place in range(4, 14, 2))
    return datetime(year, month, day, hour, minute, second, tzinfo=UTC).timestamp()
