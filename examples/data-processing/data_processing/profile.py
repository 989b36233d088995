"""What a column of text is: its kind, how its values are written, how many there are."""

import re

import polars as pl

from data_processing.model.column import ColumnProfile, Kind
from data_processing.number_text import are_codes, read_numbers
from data_processing.time_text import YEAR, read_times

MISSING = ("", "na", "n/a", "#n/a", "nan", "null", "#null!", "none", "nil", "-", "--", "—", "?", ".", "..", "missing", "#value!", "#ref!")
"""What stands for nothing, in lower case."""

TRUE = ("true", "yes", "y", "t", "on", "1")
FALSE = ("false", "no", "n", "f", "off", "0")

READABLE = 0.95
"""The part of the values that must read as a kind before the column is of that kind; the rest counts as missing."""

FEW = 12
"""So many different values always make categories, where they come again."""

IDENTIFYING = re.compile(r"(^|[\s_\-])(id|uuid|guid|key|code|index|nr|no|number|isbn|sku)$", re.IGNORECASE)
YEARLY = re.compile(r"year|yr|jahr|année|annee|año|anno", re.IGNORECASE)


def present_text(raw: pl.Series) -> pl.Series:
    """Trims text and takes away what stands for nothing.

    Returns:
        Text as long as before; null where there is nothing.
    """
    trimmed = raw.cast(pl.String).str.strip_chars()
    frame = pl.DataFrame({"text": trimmed})
    return frame.select(pl.when(~pl.col("text").str.to_lowercase().is_in(MISSING)).then("text")).to_series().rename(raw.name)


def profile(raw: pl.Series) -> ColumnProfile:
    """Finds out what a column is.

    Args:
        raw: The column as text, as it stood in the source.
    """
    text = present_text(raw)
    present = text.drop_nulls()
    if present.is_empty():
        return ColumnProfile(name=raw.name, kind=Kind.EMPTY, present=0, missing=text.len(), distinct=0, remarks=["It has no value at all."])
    found = _boolean(text) or _time(text) or _number(text) or _words(text)
    return found.model_copy(update={"remarks": [*found.remarks, *_constant(found)]})


def _profile(text: pl.Series, kind: Kind, values: pl.Series, **more: object) -> ColumnProfile:
    unreadable = text.filter(text.is_not_null() & values.is_null())
    return ColumnProfile.model_validate(
        {
            "name": text.name,
            "kind": kind,
            "present": values.len() - values.null_count(),
            "missing": text.null_count(),
            "unreadable": unreadable.len(),
            "unreadable_examples": [shortened(value) for value in unreadable.unique(maintain_order=True).head(3)],
            "distinct": values.drop_nulls().n_unique(),
            **more,
        }
    )


def _readable(text: pl.Series, values: pl.Series) -> bool:
    return values.len() - values.null_count() >= READABLE * (text.len() - text.null_count())


def _constant(found: ColumnProfile) -> list[str]:
    return ["Every value is the same."] if found.distinct == 1 and found.present > 1 else []


def as_boolean(text: pl.Series) -> pl.Series:
    """Reads text as yes or no; null where it is neither."""
    lower = pl.col("text").str.to_lowercase()
    chosen = pl.when(lower.is_in(TRUE)).then(pl.lit(value=True)).when(lower.is_in(FALSE)).then(pl.lit(value=False))
    return pl.DataFrame({"text": text}).select(chosen).to_series().rename(text.name)


def _boolean(text: pl.Series) -> ColumnProfile | None:
    spellings = text.drop_nulls().str.to_lowercase().unique()
    if spellings.len() > len(TRUE) + len(FALSE) or not spellings.is_in((*TRUE, *FALSE)).all():
        return None
    values = as_boolean(text)
    digits_only = spellings.is_in(("0", "1")).all()
    if digits_only and spellings.len() < 2:
        return None
    return _profile(text, Kind.BOOLEAN, values)


def _time(text: pl.Series) -> ColumnProfile | None:
    year_like = YEARLY.search(text.name) is not None
    if text.drop_nulls().head(50).str.contains(r"^[+-]?\d+([.,]\d+)?$").all() and not _digits_of_time(text, year_like=year_like):
        return None
    times = read_times(text, year_like=year_like)
    if times is None or not _readable(text, times.values):
        return None
    remarks = []
    if len(times.formats) > 1:
        remarks.append(f"Its times are written in {len(times.formats)} ways: {', '.join(times.formats)}.")
    if times.ambiguous:
        remarks.append(f"Day and month could be the other way round: it was read as {times.formats[0]}.")
    if times.formats == [YEAR]:
        remarks.append("Its numbers were taken for years.")
    return _profile(text, Kind.TIME, times.values, formats=times.formats, remarks=remarks)


def _digits_of_time(text: pl.Series, *, year_like: bool) -> bool:
    present = text.drop_nulls()
    if present.str.contains(r"^(1[89]|20)\d\d(0[1-9]|1[0-2])([0-2]\d|3[01])$").all():
        return True
    return year_like and bool(present.str.contains(r"^(1[5-9]|20|21)\d\d$").all())


def _number(text: pl.Series) -> ColumnProfile | None:
    numbers = read_numbers(text)
    if not _readable(text, numbers.values) or are_codes(text):
        return None
    values = numbers.values.drop_nulls()
    whole = bool((values == values.floor()).all())
    distinct = values.n_unique()
    if whole and distinct == values.len() and values.len() > FEW and _counts_rows(text.name, values):
        return _profile(text, Kind.IDENTIFIER, text, remarks=["Its numbers name the rows, they are no amounts."])
    return _profile(text, Kind.NUMBER, numbers.values, decimal=numbers.decimal, unit=numbers.unit, whole=whole)


def _counts_rows(name: str, values: pl.Series) -> bool:
    consecutive = bool((values.diff().drop_nulls() == 1).all()) and values[0] in (0, 1)
    return consecutive or IDENTIFYING.search(name) is not None


def _words(text: pl.Series) -> ColumnProfile:
    present = text.drop_nulls()
    distinct = present.n_unique()
    longest = max(present.str.len_chars().to_list())
    words = present.str.count_matches(r"\S+").sum() / present.len()
    again = distinct < present.len() or present.len() == 1
    if again and longest <= 80 and words <= 6 and (distinct <= FEW or distinct <= 0.2 * present.len()):
        return _profile(text, Kind.CATEGORY, text)
    if distinct == present.len() and longest <= 64 and not present.str.contains(r"\s").any() and present.len() > FEW:
        return _profile(text, Kind.IDENTIFIER, text)
    return _profile(text, Kind.TEXT, text)


def shortened(value: str, longest: int = 60) -> str:
    """Returns the value, cut with an ellipsis where it is long."""
    return value if len(value) <= longest else value[: longest - 1] + "…"
