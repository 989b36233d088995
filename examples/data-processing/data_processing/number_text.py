"""How numbers are written: thousands separators, decimal commas, currencies, percent signs, brackets for minus."""

from dataclasses import dataclass

import polars as pl

CURRENCY = r"[$€£¥₹]|USD|EUR|GBP|CHF|JPY"
SPACES = " '\u00a0\u202f\u2009"
"""What separates thousands besides a comma or a full stop."""

BODIES = {
    ".": rf"(?:\d{{1,3}}(?:[,{SPACES}]\d{{3}})+|\d+)(?:\.\d*)?|\.\d+",
    ",": rf"(?:\d{{1,3}}(?:[.{SPACES}]\d{{3}})+|\d+)(?:,\d*)?",
}
"""The digits of a number, by what separates the fraction."""


@dataclass(frozen=True, slots=True)
class Numbers:
    """What a column of text holds when it is read as numbers."""

    values: pl.Series
    """Float64 as long as the text; null where there is no number."""
    decimal: str
    """What separates the fraction: "." or ","."""
    unit: str
    """"%" or a currency where most numbers have one, or nothing."""


def read_numbers(text: pl.Series) -> Numbers:
    """Reads text as numbers, with the decimal separator that reads more of it.

    Args:
        text: Trimmed text; null where there is nothing.
    """
    plain = _finite(text.cast(pl.Float64, strict=False))
    if plain.null_count() == text.null_count():
        return Numbers(plain, ".", "")
    english = read_with(text, ".")
    if english.null_count() == text.null_count():
        return Numbers(english, ".", unit_of(text))
    continental = read_with(text, ",")
    if continental.null_count() < english.null_count():
        return Numbers(continental, ",", unit_of(text))
    return Numbers(english, ".", unit_of(text))


def read_with(text: pl.Series, decimal: str) -> pl.Series:
    """Reads text as numbers whose fraction is separated by `decimal`.

    Returns:
        Float64 as long as the text; null where there is no number.
    """
    pattern = rf"^(\()?\s*([+\-−])?\s*(?:{CURRENCY})?\s*([+\-−])?\s*({BODIES[decimal]})([eE][+\-]?\d+)?\s*(?:%|{CURRENCY})?\s*(\))?$"
    parts = text.str.extract_groups(pattern).struct.unnest()
    opened, before, after, digits, exponent, closed = (parts.to_series(position) for position in range(6))
    plain = digits.str.replace_all(rf"[{'.' if decimal == ',' else ','}{SPACES}]", "").str.replace(",", ".", literal=True)
    number = (plain + exponent.fill_null("")).cast(pl.Float64, strict=False)
    bracketed = opened.is_not_null() & closed.is_not_null()
    negative = bracketed | before.fill_null(after).fill_null("+").is_in(["-", "−"])
    balanced = opened.is_null() == closed.is_null()
    frame = pl.DataFrame({"number": number, "negative": negative, "balanced": balanced})
    signed = pl.when(pl.col("negative")).then(-pl.col("number")).otherwise(pl.col("number"))
    return _finite(frame.select(pl.when("balanced").then(signed)).to_series())


def unit_of(text: pl.Series) -> str:
    """Returns the percent sign or currency that more than half of the values carry, or nothing."""
    marks = text.str.extract(rf"(%|{CURRENCY})").drop_nulls()
    if marks.len() * 2 <= text.len() - text.null_count():
        return ""
    return str(marks.mode().sort()[0])


def are_codes(text: pl.Series) -> bool:
    """Returns whether digits stand for codes such as "00501": some begin with a zero that a number would not have."""
    return bool(text.str.contains(r"^0\d+$").any())


def _finite(values: pl.Series) -> pl.Series:
    return pl.DataFrame({"value": values}).select(pl.when(pl.col("value").is_finite()).then("value")).to_series()
