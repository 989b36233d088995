"""The whole way from bytes to a report, without a mesh: what the workflow does, in one process."""

from dataclasses import dataclass
from pathlib import Path

from data_processing import correlations, groups, opportunities, publishing, statistics, trends
from data_processing.cleaning import CleanTable, clean
from data_processing.collecting import collect
from data_processing.gallery import drawings
from data_processing.model.cleaning import Cleaned, MissingNumbers
from data_processing.model.report import Analysis, Report
from data_processing.model.table import Collected
from data_processing.profile import profile
from data_processing.tables import load, store


@dataclass(frozen=True)
class Outcome:
    """What came out."""

    collected: Collected
    table: CleanTable
    analysis: Analysis
    report: Report


def analyse(
    content: bytes, workspace: Path, missing_numbers: MissingNumbers = MissingNumbers.LEAVE, source: str = "a table.csv"
) -> Outcome:
    """Takes a source all the way."""
    collected = collect(content, source, workspace)
    raw = load(collected.table)
    profiles = [profile(raw[name]) for name in collected.columns]
    table = clean(raw, profiles, missing_numbers)
    invited = opportunities.opportunities(table.columns, table.frame.height)
    cleaned = Cleaned(
        table=store(table.frame, workspace),
        rows_before=raw.height,
        duplicates_removed=table.duplicates_removed,
        missing_cells=table.missing_cells,
        columns=table.columns,
        cleaning=table.cleaning,
        measures=invited.measures,
        groupings=invited.groupings,
        trends=invited.trends,
        colouring=invited.colouring,
        remarks=table.remarks + invited.remarks,
    )
    analysis = Analysis(
        collected=collected,
        cleaned=cleaned,
        columns=[statistics.describe(table.frame[column.name], column) for column in table.columns],
        groups=[groups.compare(table.frame, wanted.group, wanted.measures) for wanted in cleaned.groupings],
        trends=[trends.follow(table.frame, wanted.time, wanted.measure, wanted.group) for wanted in cleaned.trends],
        correlations=correlations.correlate(table.frame, cleaned.measures, cleaned.colouring),
    )
    charts = [publishing.store(drawing, workspace) for drawing in drawings(analysis)]
    return Outcome(collected, table, analysis, publishing.publish(analysis, charts, "run-1", workspace))
