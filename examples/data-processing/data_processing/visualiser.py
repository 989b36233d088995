"""The agent that draws charts and writes the report."""

import asyncio
from pathlib import Path

import parade
from data_processing import publishing
from data_processing.gallery import drawings
from data_processing.model.report import Analysis, Chart, Report

agent = parade.Agent("visualiser", version="1.0.0")


@agent.function(effect="idempotent", timeout=180)
async def draw_charts(analysis: Analysis, workspace: str, context: parade.Context) -> list[Chart]:
    """Chooses the charts that suit an analysis, draws them and stores them in the workspace as SVG."""
    chosen = await asyncio.to_thread(lambda: list(drawings(analysis)))
    charts: list[Chart] = []
    for drawing in chosen:
        charts.append(await asyncio.to_thread(publishing.store, drawing, Path(workspace)))
        await context.progress(len(charts) / len(chosen), drawing.title)
    return charts


@agent.function(effect="idempotent", timeout=60)
def write_report(analysis: Analysis, charts: list[Chart], run: str, workspace: str) -> Report:
    """Writes the HTML report and the JSON summary into the workspace."""
    return publishing.publish(analysis, charts, run, Path(workspace))
