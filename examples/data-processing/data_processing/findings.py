"""What stands out in an analysis, said in sentences, the strongest first."""

from collections.abc import Iterator

from data_processing.model.relation import GroupComparison, Pair, TrendAnalysis
from data_processing.model.report import Analysis
from data_processing.wording import amount, percent

MOST = 8
MOST_OF_A_KIND = 3
TELLING = 0.14
"""From this explained variance on, a difference or a trend is told (large, Cohen 1988)."""

Weighed = tuple[float, str]
"""How strong a finding is, 0 to 1, and the finding."""


def findings(analysis: Analysis) -> list[str]:
    """Returns what stands out, at most eight sentences."""
    kinds = (_relations(analysis), _trends(analysis), _groups(analysis), _seasons(analysis), _gaps(analysis))
    chosen = [found for kind in kinds for found in sorted(kind, reverse=True)[:MOST_OF_A_KIND]]
    return [sentence for _, sentence in sorted(chosen, reverse=True)[:MOST]]


def _relations(analysis: Analysis) -> Iterator[Weighed]:
    for pair in analysis.correlations.pairs:
        yield pair.pearson**2, _relation(pair)


def _relation(pair: Pair) -> str:
    strength = "closely" if abs(pair.pearson) >= 0.7 else "to a degree"
    direction = "rises" if pair.pearson > 0 else "falls"
    return f"{pair.y} {direction} with {pair.x}, {strength} (correlation {pair.pearson:+.2f})."


def _trends(analysis: Analysis) -> Iterator[Weighed]:
    for trend in analysis.trends:
        if trend.direction != "level" and trend.fit >= TELLING:
            yield trend.fit, _trend(trend)


def _trend(trend: TrendAnalysis) -> str:
    by = f" by {percent(abs(trend.change))}" if trend.change is not None else ""
    line = f"{amount(trend.line_start)} to {amount(trend.line_end)}"
    return f"{trend.measure} is {trend.direction} over {trend.time}{by}, from {line} along its line."


def _groups(analysis: Analysis) -> Iterator[Weighed]:
    told = {frozenset((pair.x, pair.y)) for pair in analysis.correlations.pairs}
    for group in analysis.groups:
        for comparison in group.comparisons:
            if comparison.explained >= TELLING and frozenset((group.group, comparison.measure)) not in told:
                yield comparison.explained, _difference(group.group, comparison)


def _difference(group: str, comparison: GroupComparison) -> str:
    low = min(comparison.groups, key=lambda measure: measure.mean)
    high = max(comparison.groups, key=lambda measure: measure.mean)
    return (
        f"{comparison.measure} differs by {group}: on average {amount(high.mean)} for {high.value}, {amount(low.mean)} for {low.value}"
        f" ({percent(comparison.explained)} of the variance)."
    )


def _seasons(analysis: Analysis) -> Iterator[Weighed]:
    for trend in analysis.trends:
        if trend.seasonality is not None and trend.seasonality >= TELLING:
            low = min(trend.months, key=lambda month: month.mean)
            high = max(trend.months, key=lambda month: month.mean)
            yield (
                trend.seasonality,
                f"{trend.measure} follows the year: {amount(high.mean)} in {high.name}, {amount(low.mean)} in {low.name}.",
            )


def _gaps(analysis: Analysis) -> Iterator[Weighed]:
    for column in analysis.columns:
        part = column.missing / (column.missing + column.present)
        if part >= 0.05:
            yield part, f"{percent(part)} of {column.name} is missing."
