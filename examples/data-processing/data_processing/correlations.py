"""How amounts go together."""

from collections.abc import Sequence
from itertools import combinations

import polars as pl

from data_processing.model.relation import Correlation, Correlations, Pair, Spot
from data_processing.statistics import finite, level_name
from data_processing.trends import fit_line

MOST_COLUMNS = 20
MOST_PAIRS = 4
MOST_SPOTS = 400
LEAST_ROWS = 8
"""Rows that must have both amounts."""

WORTH_DRAWING = 0.3
"""From this correlation on, either way, a pair is drawn (medium, Cohen 1988)."""


def correlate(frame: pl.DataFrame, measures: Sequence[str], group: str | None = None) -> Correlations:
    """Correlates every pair of amounts over the rows that have both.

    Args:
        frame: At least the columns named.
        measures: Columns of amounts.
        group: A column of few values, to tell the sampled rows apart.
    """
    columns = list(measures[:MOST_COLUMNS])
    cells = [cell for x, y in combinations(columns, 2) if (cell := _correlation(frame, x, y)) is not None]
    strongest = sorted((cell for cell in cells if abs(cell.pearson) >= WORTH_DRAWING), key=lambda cell: -abs(cell.pearson))
    left_out = len(measures) - len(columns)
    return Correlations(
        columns=columns,
        cells=cells,
        pairs=[_pair(frame, cell, group) for cell in strongest[:MOST_PAIRS]],
        group=group,
        remarks=[f"Only the first {MOST_COLUMNS} columns of numbers were compared with each other; {left_out} more were not."]
        if left_out > 0
        else [],
    )


def _correlation(frame: pl.DataFrame, x: str, y: str) -> Correlation | None:
    both = frame.select(pl.col(x).alias("x"), pl.col(y).alias("y")).drop_nulls()
    if both.height < LEAST_ROWS:
        return None
    pearson = finite(both.select(pl.corr("x", "y")).item())
    return None if pearson is None else Correlation(x=x, y=y, pearson=max(-1.0, min(1.0, pearson)))


def _pair(frame: pl.DataFrame, cell: Correlation, group: str | None) -> Pair:
    names = {"x": cell.x, "y": cell.y} | ({"group": group} if group else {})
    both = frame.select(pl.col(column).alias(alias) for alias, column in names.items()).drop_nulls(["x", "y"])
    line = fit_line(both["x"], both["y"])
    drawn = min(both.height, MOST_SPOTS)
    sample = both[[number * both.height // drawn for number in range(drawn)]]
    values = sample["group"].to_list() if group else [None] * sample.height
    spots = [
        Spot(x=x, y=y, value=None if value is None else level_name(value))
        for x, y, value in zip(sample["x"].to_list(), sample["y"].to_list(), values, strict=True)
    ]
    spearman = finite(both.select(pl.corr("x", "y", method="spearman")).item()) or 0.0
    return Pair(
        x=cell.x,
        y=cell.y,
        pearson=cell.pearson,
        spearman=spearman,
        rows=both.height,
        slope=line.slope,
        intercept=line.intercept,
        spots=spots,
    )
