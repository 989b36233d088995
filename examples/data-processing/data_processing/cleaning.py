"""From text to a table that can be analysed: types, missing values, duplicates, spellings. Everything done is counted and said."""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from data_processing.model.cleaning import ColumnCleaning, MissingNumbers
from data_processing.model.column import ColumnProfile, Kind
from data_processing.number_text import read_with as read_numbers_with
from data_processing.profile import as_boolean, present_text
from data_processing.time_text import read_with as read_times_with

MOSTLY_REPEATED = 0.5
"""From this part of repeated rows on, rows are taken for observations that happen to be alike."""


@dataclass(frozen=True, slots=True)
class CleanTable:
    """A table with proper types and what was done for it."""

    frame: pl.DataFrame
    """The table, without the columns that were left out."""
    columns: list[ColumnProfile]
    """What the columns are now."""
    cleaning: list[ColumnCleaning]
    """What was done, column by column, those left out among them."""
    duplicates_removed: int
    """How many rows repeated another one and were removed."""
    missing_cells: int
    """How many values were missing in the rows that are left."""
    remarks: list[str]
    """What a reader should know, in sentences."""


def clean(raw: pl.DataFrame, profiles: Sequence[ColumnProfile], missing_numbers: MissingNumbers = MissingNumbers.LEAVE) -> CleanTable:
    """Gives every column its type and the table its rows once.

    Args:
        raw: The table as text. Columns without a profile only help to tell rows apart.
        profiles: What the columns are.
        missing_numbers: What to do about numbers that are missing.

    Raises:
        ValueError: No column has any value.
    """
    text = pl.DataFrame([present_text(column) for column in raw.get_columns()])
    blank = text.select(pl.all_horizontal(pl.all().is_null())).to_series()
    text, remarks = text.filter(~blank), []
    if blank.any():
        remarks.append(f"{blank.sum():,} rows without any value were left out.")
    if text.is_empty():
        raise ValueError("no column has any value: look whether the right file and sheet was exported")
    text, removed, about_duplicates = _without_duplicates(text)
    series: list[pl.Series] = []
    columns: list[ColumnProfile] = []
    cleaning: list[ColumnCleaning] = []
    for profile in profiles:
        column, done = _clean_column(text[profile.name], profile, missing_numbers)
        cleaning.append(done)
        if column is None:
            continue
        series.append(column)
        update = {
            "present": column.len() - column.null_count(),
            "missing": done.missing - done.filled,
            "distinct": column.drop_nulls().n_unique(),
        }
        columns.append(profile.model_copy(update=update))
    return CleanTable(pl.DataFrame(series), columns, cleaning, removed, sum(done.missing for done in cleaning), remarks + about_duplicates)


def _without_duplicates(text: pl.DataFrame) -> tuple[pl.DataFrame, int, list[str]]:
    if text.width == 1:
        return text, 0, ["A value that comes again in the only column is no duplicate: all rows were kept."]
    unique = text.unique(keep="first", maintain_order=True)
    removed = text.height - unique.height
    if removed > MOSTLY_REPEATED * text.height:
        return (
            text,
            0,
            [f"{removed:,} rows are like another one; that many are taken for observations of their own, so all rows were kept."],
        )
    return unique, removed, []


def _clean_column(text: pl.Series, profile: ColumnProfile, missing_numbers: MissingNumbers) -> tuple[pl.Series | None, ColumnCleaning]:
    if profile.kind is Kind.EMPTY or text.null_count() == text.len():
        return None, ColumnCleaning(name=profile.name, missing=text.len(), dropped=True, done="Left out, since it has no value.")
    sentences: list[str] = []
    filled = unified = 0
    column = _typed(text, profile)
    missing = column.null_count()
    unreadable = missing - text.null_count()
    if unreadable:
        examples = ", ".join(f"“{value}”" for value in profile.unreadable_examples)
        sentences.append(f"{unreadable:,} values that are no {profile.kind} were set to missing{f' ({examples})' if examples else ''}.")
    if profile.kind is Kind.NUMBER and missing and missing_numbers is MissingNumbers.MEDIAN:
        column, filled = column.fill_null(column.median()), missing
        sentences.append(f"{missing:,} missing values were given the median.")
    elif missing:
        sentences.append(f"{missing:,} missing values are left out of what is computed.")
    if profile.kind is Kind.CATEGORY:
        column, unified = unify_spellings(column)
        if unified:
            sentences.append(f"{unified:,} values differ from another only in capitals or spaces and were made one with it.")
    if profile.kind in (Kind.NUMBER, Kind.TIME, Kind.BOOLEAN):
        sentences.append(_how_read(profile))
    return column, ColumnCleaning(
        name=profile.name, missing=missing, filled=filled, unified=unified, done=" ".join(sentences) or "Nothing to do."
    )


def _how_read(profile: ColumnProfile) -> str:
    if profile.kind is Kind.TIME:
        return f"Read as time, written {' or '.join(profile.formats)}."
    if profile.kind is Kind.BOOLEAN:
        return "Read as yes or no."
    details = [f"in {profile.unit}"] if profile.unit else []
    details += ["with a decimal comma"] if profile.decimal == "," else []
    return f"Read as {'whole ' if profile.whole else ''}numbers{' ' if details else ''}{' '.join(details)}."


def _typed(text: pl.Series, profile: ColumnProfile) -> pl.Series:
    match profile.kind:
        case Kind.NUMBER:
            return read_numbers_with(text, profile.decimal).rename(profile.name)
        case Kind.TIME:
            return read_times_with(text, profile.formats).rename(profile.name)
        case Kind.BOOLEAN:
            return as_boolean(text)
        case _:
            return text


def unify_spellings(text: pl.Series) -> tuple[pl.Series, int]:
    """Makes one of the spellings that differ only in capitals and spaces: the most frequent one, and of these the first.

    Returns:
        The text, and how many values were changed.
    """
    key = text.str.to_lowercase().str.replace_all(r"\s+", " ")
    frame = pl.DataFrame({"text": text, "key": key})
    counts = frame.drop_nulls().group_by("key", "text", maintain_order=True).len().sort("len", descending=True, maintain_order=True)
    chosen = counts.group_by("key", maintain_order=True).agg(pl.col("text").first().alias("chosen"))
    joined = frame.join(chosen, on="key", how="left", maintain_order="left")["chosen"].rename(text.name)
    return joined, int((joined != text).sum())
