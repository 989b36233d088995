"""The report for people and the summary for programs, both from the same analysis."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import jinja2

from data_processing.findings import findings
from data_processing.model.relation import TrendAnalysis
from data_processing.model.report import Analysis, Chart
from data_processing.wording import amount, percent, size

PAGE = "report.html.j2"


@dataclass(frozen=True, slots=True)
class Picture:
    """A chart with its SVG."""

    chart: Chart
    """What it shows."""
    svg: str
    """The picture."""


def environment() -> jinja2.Environment:
    """Returns the templates with the words that they use; what comes from the data is escaped."""
    templates = jinja2.Environment(
        loader=jinja2.PackageLoader("data_processing", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters.update(amount=amount, percent=percent, size=size, trend=trend_sentence)
    return templates


def page(analysis: Analysis, pictures: Sequence[Picture], run: str) -> str:
    """Returns the report as one HTML document that needs nothing else.

    Args:
        analysis: What was found out.
        pictures: The charts in the order in which they are shown.
        run: The run that made it.
    """
    cells = analysis.cleaned.table.rows * (len(analysis.cleaned.columns) or 1)
    return (
        environment()
        .get_template(PAGE)
        .render(
            analysis=analysis,
            collected=analysis.collected,
            cleaned=analysis.cleaned,
            statistics={column.name: column for column in analysis.columns},
            findings=findings(analysis),
            trends=sorted(analysis.trends, key=lambda trend: -max(trend.fit, trend.seasonality or 0)),
            pictures=by_section(pictures),
            completeness=1 - sum(column.missing for column in analysis.columns) / cells if cells else 0,
            run=run,
        )
    )


def by_section(pictures: Sequence[Picture]) -> Mapping[str, list[Picture]]:
    """Returns the pictures of each section, in their order."""
    sections: dict[str, list[Picture]] = {section: [] for section in ("trends", "groups", "relations", "columns")}
    for picture in pictures:
        sections[picture.chart.section].append(picture)
    return sections


def trend_sentence(trend: TrendAnalysis) -> str:
    """Returns a trend in a sentence."""
    if trend.direction == "level":
        return f"No clear direction (the line explains {percent(trend.fit)} of the variance)."
    change = f" ({'+' if trend.change > 0 else '−'}{percent(abs(trend.change))})" if trend.change is not None else ""
    return (
        f"{trend.direction.capitalize()} by {amount(abs(trend.slope_per_year))} a year: from {amount(trend.line_start)} to"
        f" {amount(trend.line_end)}{change}; the line explains {percent(trend.fit)} of the variance."
    )


def summary(analysis: Analysis, charts: Sequence[Chart], run: str) -> dict[str, object]:
    """Returns what was found out as a JSON document, without the points that only the charts need."""
    document = analysis.model_dump(
        mode="json", exclude={"trends": {"__all__": {"series"}}, "correlations": {"pairs": {"__all__": {"spots"}}}}
    )
    return {"run": run, "findings": findings(analysis), **document, "charts": [chart.model_dump(mode="json") for chart in charts]}
