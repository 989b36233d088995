"""One chart a kind of question, as Vega-Lite specifications. Every chart is drawn from figures that travelled, never from the table."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import altair as alt

from data_processing.model.relation import Correlations, GroupComparison, MonthMean, Pair, TrendAnalysis
from data_processing.model.statistics import Bin, Level, Point
from data_processing.palette import GRID, INK, MUTED, NEGATIVE, POSITIVE, SERIES, SURFACE

AnyChart: TypeAlias = alt.Chart | alt.LayerChart | alt.FacetChart

WIDE = 500
"""Pixels of a chart over time, labels included."""

NARROW = 330
"""Pixels of any other chart, labels included."""

FIT = alt.AutoSizeParams(type="fit-x", contains="padding")
"""The labels take their room from the width, so that charts of one width stand in line."""


def _rows(rows: Sequence[dict[str, object]]) -> alt.Chart:
    return alt.Chart(alt.InlineData(values=list(rows)))


def _format(largest: float) -> Any:
    """Large amounts are written with a letter for their thousands; for others Vega's own choice is best."""
    return "~s" if abs(largest) >= 100_000 else alt.Undefined


def _time(point: Point) -> str:
    """A moment with its zone, since a browser would take one without for its own."""
    return f"{point.time}Z" if "T" in point.time else point.time


def histogram(bins: Sequence[Bin], unit: str) -> AnyChart:
    """Draws how amounts are spread."""
    rows: list[dict[str, object]] = [{"start": found.start, "end": found.end, "count": found.count} for found in bins]
    axis = alt.Axis(format=_format(bins[-1].end), grid=False, labelOverlap=True)
    chart: AnyChart = (
        _rows(rows)
        .mark_bar(color=SERIES[0], binSpacing=1)
        .encode(
            x=alt.X("start:Q", bin="binned", title=unit or None, axis=axis, scale=alt.Scale(zero=False, nice=False)),
            x2="end",
            y=alt.Y("count:Q", title=None, axis=alt.Axis(tickCount=4, format="~s")),
        )
        .properties(width=NARROW, autosize=FIT, height=150)
    )
    return chart


def bars(levels: Sequence[Level]) -> AnyChart:
    """Draws how often each value comes, the most frequent on top."""
    rows: list[dict[str, object]] = [
        {"value": level.value, "count": level.count, "label": f"{level.count:,}  ({level.share:.0%})"} for level in levels
    ]
    longest = max(level.count for level in levels)
    scale = alt.Scale(domain=[0, longest * 1.3])
    base = _rows(rows).encode(
        x=alt.X("count:Q", title=None, axis=None, scale=scale),
        y=alt.Y("value:N", title=None, sort=None, axis=alt.Axis(labelLimit=150, ticks=False, domain=False)),
    )
    drawn = base.mark_bar(color=SERIES[0], cornerRadiusEnd=3)
    text = base.mark_text(align="left", dx=5, color=MUTED, fontSize=11).encode(text="label:N")
    return alt.layer(drawn, text).properties(width=NARROW, autosize=FIT, height=alt.Step(24))


def rows_over_time(points: Sequence[Point]) -> AnyChart:
    """Draws how many rows each period has."""
    rows: list[dict[str, object]] = [{"time": _time(point), "count": point.value} for point in points]
    chart: AnyChart = (
        _rows(rows)
        .mark_area(color=SERIES[0], opacity=0.75, interpolate="step-after", line=False)
        .encode(
            x=alt.X("time:T", title=None, scale=alt.Scale(type="utc"), axis=alt.Axis(grid=False, labelOverlap=True)),
            y=alt.Y("count:Q", title=None, axis=alt.Axis(tickCount=4, format="~s")),
        )
        .properties(width=NARROW, autosize=FIT, height=150)
    )
    return chart


def trend(found: TrendAnalysis, unit: str) -> AnyChart:
    """Draws an amount over time with its line; each group by itself where there are groups."""
    x = alt.X("time:T", title=None, scale=alt.Scale(type="utc"), axis=alt.Axis(grid=False, labelOverlap=True))
    largest = max(abs(point.value) for point in found.points)
    y = alt.Y("value:Q", title=unit or None, scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=5, format=_format(largest)))
    overall: list[dict[str, object]] = [{"time": _time(point), "value": point.value, "series": "all"} for point in found.points]
    ends: list[dict[str, object]] = [
        {"time": _time(found.points[0]), "value": found.line_start},
        {"time": _time(found.points[-1]), "value": found.line_end},
    ]
    line = _rows(ends).mark_line(color=INK, strokeDash=[5, 4], strokeWidth=1.5, opacity=0.7).encode(x=x, y=y)
    if not found.series:
        drawn = _rows(overall).mark_line(color=SERIES[0], strokeWidth=2, point=_dots(found)).encode(x=x, y=y)
        return alt.layer(drawn, line).properties(width=WIDE, autosize=FIT, height=220)
    names = [series.value for series in found.series]
    apart: list[dict[str, object]] = [
        {"time": _time(point), "value": point.value, "series": series.value} for series in found.series for point in series.points
    ]
    color = alt.Color(
        "series:N",
        title=None,
        sort=None,
        scale=alt.Scale(domain=[*names, "all"], range=[*SERIES[: len(names)], INK]),
        legend=alt.Legend(orient="top", symbolType="stroke", symbolStrokeWidth=3),
    )
    groups = _rows(apart).mark_line(strokeWidth=1.5, opacity=0.85, point=_dots(found)).encode(x=x, y=y, color=color)
    whole = _rows(overall).mark_line(strokeWidth=2.5).encode(x=x, y=y, color=color)
    return alt.layer(groups, line, whole).properties(width=WIDE, autosize=FIT, height=240)


def _dots(found: TrendAnalysis) -> alt.OverlayMarkDef | bool:
    return alt.OverlayMarkDef(size=28, filled=True) if len(found.points) <= 40 else False


def usual_year(months: Sequence[MonthMean], unit: str) -> AnyChart:
    """Draws the mean of each month of the year."""
    rows: list[dict[str, object]] = [{"month": month.name[:3], "mean": month.mean} for month in months]
    chart: AnyChart = (
        _rows(rows)
        .mark_bar(color=SERIES[2], cornerRadiusEnd=2)
        .encode(
            x=alt.X("month:O", sort=None, title=None, axis=alt.Axis(labelAngle=0, ticks=False)),
            y=alt.Y("mean:Q", title=unit or None, axis=alt.Axis(tickCount=4, format=_format(max(abs(month.mean) for month in months)))),
        )
        .properties(width=WIDE, autosize=FIT, height=130)
    )
    return chart


def boxes(comparison: GroupComparison, unit: str) -> AnyChart:
    """Draws each group's quartiles as a box, its range as a line, its mean as a dot."""
    rows: list[dict[str, object]] = [{**group.model_dump(), "label": f"{group.value}  ({group.count:,})"} for group in comparison.groups]
    largest = max(abs(group.maximum) for group in comparison.groups)
    y = alt.Y("label:N", title=None, sort=None, axis=alt.Axis(labelLimit=170, ticks=False, domain=False))
    x = alt.X("minimum:Q", title=unit or None, scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=6, format=_format(largest)))
    base = _rows(rows).encode(y=y)
    reach = base.mark_rule(color=MUTED, strokeWidth=1.2).encode(x=x, x2="maximum")
    box = base.mark_bar(color=SERIES[0], opacity=0.55, height={"band": 0.6}, cornerRadius=2).encode(x="quartile_low:Q", x2="quartile_high")
    middle = base.mark_tick(color=INK, thickness=2.5, height={"band": 0.6}).encode(x="median:Q")
    mean = base.mark_point(filled=True, size=34, color=SERIES[1], opacity=1).encode(x="mean:Q")
    return alt.layer(reach, box, middle, mean).properties(width=NARROW, autosize=FIT, height=alt.Step(28))


def heatmap(found: Correlations) -> AnyChart:
    """Draws every pair's correlation: colour for the direction, strength of colour for the strength."""
    rows: list[dict[str, object]] = [
        {"x": x, "y": y, "value": cell.pearson, "strength": abs(cell.pearson), "color": POSITIVE if cell.pearson >= 0 else NEGATIVE}
        for cell in found.cells
        for x, y in ((cell.x, cell.y), (cell.y, cell.x))
    ]
    step = 46 if len(found.columns) <= 12 else 30
    x = alt.X("x:N", sort=found.columns, title=None, axis=alt.Axis(labelAngle=-40, labelLimit=120, ticks=False, domain=False))
    y = alt.Y("y:N", sort=found.columns, title=None, axis=alt.Axis(labelLimit=150, ticks=False, domain=False))
    base = _rows(rows).encode(x=x, y=y)
    squares = base.mark_rect(stroke=SURFACE, strokeWidth=2, cornerRadius=4).encode(
        color=alt.Color("color:N", scale=None),
        fillOpacity=alt.FillOpacity("strength:Q", scale=alt.Scale(domain=[0, 1], range=[0.06, 0.95]), legend=None),
    )
    text = base.mark_text(fontSize=11 if step > 40 else 8, color=INK).encode(text=alt.Text("value:Q", format=".2f"))
    return alt.layer(squares, text).properties(width=alt.Step(step), height=alt.Step(step if step < 40 else 36))


def scatter(pair: Pair, group: str | None) -> AnyChart:
    """Draws a sample of the rows of two amounts with their line."""
    rows: list[dict[str, object]] = [spot.model_dump(exclude_none=True) for spot in pair.spots]
    low, high = min(spot.x for spot in pair.spots), max(spot.x for spot in pair.spots)
    x = alt.X("x:Q", title=pair.x, scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=6, format=_format(high)))
    largest = max(abs(spot.y) for spot in pair.spots)
    y = alt.Y("y:Q", title=pair.y, scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=5, format=_format(largest)))
    dots = _rows(rows).mark_circle(size=26, opacity=0.6).encode(x=x, y=y)
    names = sorted({spot.value for spot in pair.spots if spot.value is not None})
    if group and names:
        scale = alt.Scale(domain=names, range=list(SERIES[: len(names)]))
        dots = dots.encode(color=alt.Color("value:N", title=None, scale=scale, legend=alt.Legend(orient="top")))
    else:
        dots = dots.encode(color=alt.value(SERIES[0]))
    ends: list[dict[str, object]] = [{"x": end, "y": pair.intercept + pair.slope * end} for end in (low, high)]
    line = _rows(ends).mark_line(color=INK, strokeDash=[5, 4], strokeWidth=1.5, opacity=0.7).encode(x=x, y=y)
    return alt.layer(dots, line).properties(width=NARROW, autosize=FIT, height=250)


def themed(chart: AnyChart) -> AnyChart:
    """Gives a chart the report's letters and colours."""
    with_colours: AnyChart = (
        chart.properties(background="transparent", padding=4)
        .configure(font="system-ui, 'Segoe UI', Roboto, 'Helvetica Neue', 'DejaVu Sans', sans-serif")
        .configure_view(stroke=None)
        .configure_axis(
            labelColor=MUTED,
            titleColor=MUTED,
            gridColor=GRID,
            domainColor=GRID,
            tickColor=GRID,
            labelFontSize=11,
            titleFontSize=11,
            titleFontWeight=500,
        )
        .configure_legend(labelColor=MUTED, titleColor=MUTED, labelFontSize=11)
    )
    return with_colours
