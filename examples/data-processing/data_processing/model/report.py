"""What is drawn and written in the end."""

from data_processing.model.base import Model
from data_processing.model.cleaning import Cleaned
from data_processing.model.relation import Correlations, GroupAnalysis, TrendAnalysis
from data_processing.model.statistics import ColumnStatistics
from data_processing.model.table import Collected


class Analysis(Model):
    """Everything that was found out."""

    collected: Collected
    """Where the table came from."""
    cleaned: Cleaned
    """What was done to it."""
    columns: list[ColumnStatistics]
    """Each column by itself."""
    groups: list[GroupAnalysis]
    """Each comparison of groups."""
    trends: list[TrendAnalysis]
    """Each amount over time."""
    correlations: Correlations
    """How the amounts go together."""


class Chart(Model):
    """A picture in the workspace."""

    section: str
    """Where it belongs: columns, trends, groups or relations."""
    subject: str
    """The column or columns that it shows."""
    title: str
    """What it shows, for people and as the text in place of the picture."""
    path: str
    """The SVG file, absolute."""
    sha256: str
    """The SHA-256 of that file, hexadecimal."""


class Report(Model):
    """The files that were written, and the short of it."""

    report: str
    """The HTML file, absolute."""
    summary: str
    """The JSON file, absolute."""
    rows: int
    """How many rows the cleaned table has."""
    columns: int
    """How many columns it has."""
    charts: int
    """How many charts there are."""
    findings: list[str]
    """What stands out, the strongest first."""
