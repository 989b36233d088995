"""From an analysis to files in the workspace: charts, the report, the summary."""

import json
from collections.abc import Sequence
from pathlib import Path

from data_processing.files import digest, read_checked, write_atomically
from data_processing.findings import findings
from data_processing.gallery import Drawing
from data_processing.model.report import Analysis, Chart, Report
from data_processing.rendering import render
from data_processing.report import Picture, page, summary


def store(drawing: Drawing, workspace: Path) -> Chart:
    """Draws one chart and stores it under the hash of its content."""
    svg = render(drawing.chart)
    sha256 = digest(svg)
    path = workspace.absolute() / "charts" / f"{sha256[:16]}.svg"
    write_atomically(path, svg)
    return Chart(section=drawing.section, subject=drawing.subject, title=drawing.title, path=str(path), sha256=sha256)


def publish(analysis: Analysis, charts: Sequence[Chart], run: str, workspace: Path) -> Report:
    """Writes `report.html` and `summary.json` into the workspace; the same analysis again leaves the same files.

    Raises:
        ValueError: A chart is gone or was changed.
    """
    pictures = [Picture(chart, read_checked(Path(chart.path), chart.sha256).decode()) for chart in charts]
    report = workspace.absolute() / "report.html"
    write_atomically(report, page(analysis, pictures, run).encode())
    document = json.dumps(summary(analysis, charts, run), ensure_ascii=False, indent=2, allow_nan=False)
    summary_path = workspace.absolute() / "summary.json"
    write_atomically(summary_path, f"{document}\n".encode())
    return Report(
        report=str(report),
        summary=str(summary_path),
        rows=analysis.cleaned.table.rows,
        columns=len(analysis.cleaned.columns),
        charts=len(charts),
        findings=findings(analysis),
    )
