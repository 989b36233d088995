"""How amounts differ between the groups of a column."""

from collections.abc import Sequence

import polars as pl

from data_processing.model.relation import GroupAnalysis, GroupComparison, GroupMeasure
from data_processing.statistics import finite, level_name

SMALL = 5
"""A group with fewer rows says little."""


def compare(frame: pl.DataFrame, group: str, measures: Sequence[str]) -> GroupAnalysis:
    """Compares amounts between groups; rows without a group are left out.

    Args:
        frame: At least the columns named.
        group: The column whose values make the groups.
        measures: Columns of amounts.
    """
    present = frame.filter(pl.col(group).is_not_null())
    comparisons = [compare_one(present, group, measure) for measure in measures]
    small = present[group].value_counts(name="rows").filter(pl.col("rows") < SMALL)[group].sort()
    remarks = [f"Groups of fewer than {SMALL} rows: {', '.join(level_name(value) for value in small)}."] if small.len() else []
    return GroupAnalysis(group=group, comparisons=sorted(comparisons, key=lambda found: -found.explained), remarks=remarks)


def compare_one(present: pl.DataFrame, group: str, measure: str) -> GroupComparison:
    """Compares one amount between groups; every group has a value for `group`."""
    pairs = present.select(pl.col(group).alias("group"), pl.col(measure).alias("value")).drop_nulls()
    value = pl.col("value")
    rows = pairs.group_by("group").agg(
        pl.len().alias("count"),
        value.mean().alias("mean"),
        value.std().alias("deviation"),
        value.min().alias("minimum"),
        value.quantile(0.25, "linear").alias("quartile_low"),
        value.median().alias("median"),
        value.quantile(0.75, "linear").alias("quartile_high"),
        value.max().alias("maximum"),
    )
    groups = [_measure(row) for row in rows.sort("group").iter_rows(named=True)]
    return GroupComparison(measure=measure, explained=explained(pairs), groups=groups)


def _measure(row: dict[str, object]) -> GroupMeasure:
    value = row.pop("group")
    return GroupMeasure.model_validate({"value": level_name(value), **row})


def explained(pairs: pl.DataFrame) -> float:
    """Returns eta squared: the part of the variance of `value` that lies between the groups of `group`, 0 where there is no variance."""
    if pairs.is_empty():
        return 0.0
    centred = pairs.with_columns(pl.col("value") - pl.col("value").mean())
    total = float((centred["value"] ** 2).sum())
    between = centred.group_by("group").agg(pl.col("value").mean(), pl.len().alias("rows")).sort("group")
    return min(1.0, finite(float((between["value"] ** 2 * between["rows"]).sum()) / total) or 0.0) if total else 0.0
