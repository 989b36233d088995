"""The agent that analyses a cleaned table, a column, a grouping or a trend at a time."""

import parade
from data_processing import correlations
from data_processing.groups import compare
from data_processing.model.cleaning import Grouping, TrendRequest
from data_processing.model.column import ColumnProfile
from data_processing.model.relation import Correlations, GroupAnalysis, TrendAnalysis
from data_processing.model.statistics import ColumnStatistics
from data_processing.model.table import TableReference
from data_processing.statistics import describe
from data_processing.tables import load
from data_processing.trends import follow

agent = parade.Agent("analyst", version="1.0.0")


@agent.function(effect="pure", timeout=60)
def analyse_column(table: TableReference, column: ColumnProfile) -> ColumnStatistics:
    """Describes one column in figures that suit its kind."""
    return describe(load(table, [column.name])[column.name], column)


@agent.function(effect="pure", timeout=60)
def analyse_groups(table: TableReference, grouping: Grouping) -> GroupAnalysis:
    """Compares amounts between the groups of a column."""
    return compare(load(table, [grouping.group, *grouping.measures]), grouping.group, grouping.measures)


@agent.function(effect="pure", timeout=60)
def analyse_trend(table: TableReference, trend: TrendRequest) -> TrendAnalysis:
    """Follows an amount over time, and each group of it where groups are asked for."""
    groups = [trend.group] if trend.group else []
    return follow(load(table, [trend.time, trend.measure, *groups]), trend.time, trend.measure, trend.group)


@agent.function(effect="pure", timeout=60)
def correlate(table: TableReference, measures: list[str], colouring: str | None) -> Correlations:
    """Finds out which amounts go together, with a sample of the strongest pairs."""
    groups = [colouring] if colouring else []
    return correlations.correlate(load(table, [*measures, *groups]), measures, colouring)
