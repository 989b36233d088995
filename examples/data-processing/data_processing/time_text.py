"""How times are written: many formats, several of them in one column."""

from dataclasses import dataclass

import polars as pl

DAYS = (
    "%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%m/%d/%Y", "%d/%m/%Y", "%d.%m.%Y", "%d-%m-%Y", "%m-%d-%Y", "%d-%b-%Y", "%d %b %Y", "%d %B %Y",
    "%b %d, %Y", "%B %d, %Y", "%b %d %Y", "%B %d %Y", "%m/%d/%y", "%d/%m/%y", "%d.%m.%y", "%d-%b-%y",
)  # fmt: skip
"""Days, the likelier reading first where two fit."""

HOURS = (
    " %H:%M",
    " %H:%M:%S",
    " %H:%M:%S%.f",
    "T%H:%M",
    "T%H:%M:%S",
    "T%H:%M:%S%.f",
    "T%H:%M:%S%z",
    "T%H:%M:%S%.f%z",
    " %I:%M %p",
    " %I:%M:%S %p",
)
"""What may follow a day."""

MONTHS = ("%Y-%m", "%Y/%m", "%m/%Y", "%b %Y", "%B %Y", "%b-%y")
"""Months, read as their first day."""

FORMATS = (*DAYS, *(day + hour for day in DAYS[:8] for hour in HOURS), *MONTHS)

COMPACT = "%Y%m%d"
"""A day as eight digits: only asked for where every value has eight."""

YEAR = "%Y"
"""A year: only asked for where the column's name speaks of years."""

EARLIEST, LATEST = 1000, 2300
"""The years that are believed."""

SAMPLE = 120
"""How many different values decide which formats are tried on all."""


@dataclass(frozen=True, slots=True)
class Times:
    """What a column of text holds when it is read as times."""

    values: pl.Series
    """Datetime in microseconds as long as the text, UTC where the text says so; null where there is no time."""
    formats: list[str]
    """The formats, the most frequent first."""
    ambiguous: bool
    """Whether day and month may be the other way round in all of it."""


def read_times(text: pl.Series, *, year_like: bool = False) -> Times | None:
    """Reads text as times, in as many formats as it takes.

    Args:
        text: Trimmed text; null where there is nothing.
        year_like: Whether four digits are years.

    Returns:
        The times, or None where the text is nothing of the kind.
    """
    different = text.drop_nulls().unique(maintain_order=True)
    sample = different.gather_every(max(1, different.len() // SAMPLE))
    if sample.is_empty() or not sample.str.contains(r"\d").all() or (sample.str.len_chars() > 40).any():
        return None
    if sample.str.contains(r"^\d{8}$").all():
        candidates: tuple[str, ...] = (COMPACT,)
    elif sample.str.contains(r"^\d{4}$").all():
        candidates = (YEAR,) if year_like else ()
    else:
        candidates = FORMATS
    matches = {candidate: sample.len() - read_with(sample, [candidate]).null_count() for candidate in candidates}
    ranked = sorted((candidate for candidate in candidates if matches[candidate]), key=lambda candidate: -matches[candidate])
    if not ranked:
        return None
    counterpart = _counterpart(ranked[0])
    values, formats = _read_all(text, ranked)
    ambiguous = counterpart is not None and matches.get(counterpart) == matches[ranked[0]] == sample.len()
    return Times(values, formats, ambiguous)


def read_with(text: pl.Series, formats: list[str]) -> pl.Series:
    """Reads text with the first of the formats that fits each value.

    Returns:
        Datetime in microseconds as long as the text; null where none fits.
    """
    return _read_all(text, formats)[0]


def _read_all(text: pl.Series, formats: list[str]) -> tuple[pl.Series, list[str]]:
    values = pl.Series(text.name, [None] * text.len(), dtype=pl.Datetime("us"))
    used: list[tuple[int, str]] = []
    for candidate in formats:
        frame = pl.DataFrame({"text": text, "value": values})
        frame = frame.with_columns(pl.when(pl.col("value").is_null()).then("text").alias("left"))
        read = _read_one(frame["left"], candidate)
        gained = read.len() - read.null_count()
        if gained:
            used.append((-gained, candidate))
            values = frame.select(pl.coalesce("value", read.alias("read"))).to_series().rename(text.name)
        if values.null_count() == text.null_count():
            break
    return values, [candidate for _, candidate in sorted(used, key=lambda entry: entry[0])]


def _read_one(text: pl.Series, pattern: str) -> pl.Series:
    if pattern == YEAR:
        text, pattern = text + "-01-01", "%Y-%m-%d"
    if pattern.endswith("%z"):
        offsets = text.str.replace("Z$", "+00:00")
        read = offsets.str.to_datetime(pattern, time_unit="us", time_zone="UTC", strict=False).dt.replace_time_zone(None)
    else:
        read = text.str.to_datetime(pattern, time_unit="us", strict=False)
    frame = pl.DataFrame({"read": read})
    return frame.select(pl.when(pl.col("read").dt.year().is_between(EARLIEST, LATEST)).then("read")).to_series()


def _counterpart(pattern: str) -> str | None:
    for day_first, month_first in (("%d/%m", "%m/%d"), ("%d-%m", "%m-%d")):
        if pattern.startswith(day_first):
            return pattern.replace(day_first, month_first)
        if pattern.startswith(month_first):
            return pattern.replace(month_first, day_first)
    return None
