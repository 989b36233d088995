"""From bytes to text: which encoding a source has, and whether it is text at all."""

import codecs
from dataclasses import dataclass

MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
"""Byte order marks and what they announce."""

FOREIGN = (
    (b"PK\x03\x04", "a spreadsheet or an archive: save the sheet as CSV, or unpack it"),
    (b"\x1f\x8b", "compressed with gzip: unpack it"),
    (b"\xd0\xcf\x11\xe0", "an old spreadsheet: save the sheet as CSV"),
    (b"%PDF", "a PDF document: find the table behind it as CSV"),
    (b"PAR1", "a Parquet file: write it out as CSV"),
    (b"SQLite format 3", "a database: export the table as CSV"),
)
"""How files begin that people take for tables of text."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """Text and how it was encoded."""

    text: str
    """Without a byte order mark."""
    encoding: str
    """Its encoding, by Python's name."""


def decode(content: bytes) -> Decoded:
    """Decodes a source: by its byte order mark, as UTF-8, or as Windows-1252, which spreadsheets write in western Europe.

    Raises:
        ValueError: It is empty or no text; the message says what it is, where that is known, and what to do.
    """
    if not content.strip():
        raise ValueError("the source is empty: it needs a line of column names and at least one line of values")
    for beginning, what in FOREIGN:
        if content.startswith(beginning):
            raise ValueError(f"the source is {what}")
    for mark, encoding in MARKS:
        if content.startswith(mark):
            try:
                return Decoded(content.decode(encoding), encoding)
            except UnicodeDecodeError:
                raise ValueError(f"the source says that it is {encoding} and is not: save it again as UTF-8") from None
    if b"\x00" in content:
        raise ValueError("the source is not text: give a CSV file")
    text, encoding = _by_trial(content)
    if text.lstrip()[:15].lower().startswith(("<!doctype", "<html")):
        raise ValueError("the source is a web page: look for the address behind its download link")
    return Decoded(text, encoding)


def _by_trial(content: bytes) -> tuple[str, str]:
    for encoding in ("utf-8", "cp1252"):
        try:
            return content.decode(encoding), encoding
        except UnicodeDecodeError:
            continue
    return content.decode("latin-1"), "latin-1"
