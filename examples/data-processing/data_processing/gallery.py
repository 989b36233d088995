"""Which charts suit an analysis, in the order in which they are looked at."""

from collections.abc import Iterator
from dataclasses import dataclass

from data_processing import charts
from data_processing.charts import AnyChart
from data_processing.model.relation import GroupAnalysis, TrendAnalysis
from data_processing.model.report import Analysis
from data_processing.model.statistics import ColumnStatistics

MOST_COMPARISONS = 3
"""Box plots a grouping."""

WORTH_COMPARING = 0.01
"""From this explained variance on a comparison is drawn."""

WORTH_A_YEAR = 0.1
"""From this seasonality on the usual year is drawn."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """A chart and where it belongs."""

    section: str
    """columns, trends, groups or relations."""
    subject: str
    """The column or columns that it shows."""
    title: str
    """What it shows."""
    chart: AnyChart
    """The chart, without the report's colours yet."""


def drawings(analysis: Analysis) -> Iterator[Drawing]:
    """Yields the charts of an analysis."""
    units = {column.name: column.unit for column in analysis.columns}
    for trend in analysis.trends:
        yield from _of_trend(trend, units.get(trend.measure, ""))
    for group in analysis.groups:
        yield from _of_group(group, units)
    yield from _of_relations(analysis)
    for column in analysis.columns:
        yield from _of_column(column)


def _of_trend(trend: TrendAnalysis, unit: str) -> Iterator[Drawing]:
    by = f" by {trend.group}" if trend.series else ""
    yield Drawing("trends", trend.measure, f"{trend.measure} over {trend.time}{by}, mean by {trend.period}", charts.trend(trend, unit))
    if trend.seasonality is not None and trend.seasonality >= WORTH_A_YEAR:
        yield Drawing(
            "trends", trend.measure, f"{trend.measure} in the months of the year, on average", charts.usual_year(trend.months, unit)
        )


def _of_group(group: GroupAnalysis, units: dict[str, str]) -> Iterator[Drawing]:
    for comparison in group.comparisons[:MOST_COMPARISONS]:
        if comparison.explained >= WORTH_COMPARING:
            chart = charts.boxes(comparison, units.get(comparison.measure, ""))
            yield Drawing("groups", group.group, f"{comparison.measure} by {group.group}", chart)


def _of_relations(analysis: Analysis) -> Iterator[Drawing]:
    found = analysis.correlations
    if len(found.cells) > 1:
        yield Drawing("relations", "", "How the amounts go together (correlation)", charts.heatmap(found))
    for pair in found.pairs:
        yield Drawing("relations", f"{pair.x}, {pair.y}", f"{pair.y} against {pair.x}", charts.scatter(pair, found.group))


def _of_column(column: ColumnStatistics) -> Iterator[Drawing]:
    if column.distinct < 2:
        return
    if column.levels:
        yield Drawing("columns", column.name, f"How often each {column.name} comes", charts.bars(column.levels))
    elif column.number:
        yield Drawing("columns", column.name, f"How {column.name} is spread", charts.histogram(column.number.histogram, column.unit))
    elif column.time and len(column.time.counts) > 1:
        yield Drawing("columns", column.name, f"Rows by {column.time.period} of {column.name}", charts.rows_over_time(column.time.counts))
