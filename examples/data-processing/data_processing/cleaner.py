"""The agent that finds out what columns are and makes a table fit for analysis."""

from pathlib import Path

import parade
from data_processing.cleaning import clean
from data_processing.model.cleaning import Cleaned, MissingNumbers
from data_processing.model.column import ColumnProfile
from data_processing.model.table import TableReference
from data_processing.opportunities import opportunities
from data_processing.profile import profile
from data_processing.tables import load, store

agent = parade.Agent("cleaner", version="1.0.0")


@agent.function(effect="pure", timeout=60)
def profile_column(table: TableReference, column: str) -> ColumnProfile:
    """Finds out what one column of a table of text is: its kind, and how its values are written."""
    return profile(load(table, [column])[column])


@agent.function(effect="idempotent", timeout=120)
def clean_table(table: TableReference, profiles: list[ColumnProfile], missing_numbers: MissingNumbers, workspace: str) -> Cleaned:
    """Gives every column its type, handles missing values and duplicates, and says what is worth analysing.

    Raises:
        ValueError: No column has any value.
    """
    raw = load(table)
    result = clean(raw, profiles, missing_numbers)
    invited = opportunities(result.columns, result.frame.height)
    return Cleaned(
        table=store(result.frame, Path(workspace)),
        rows_before=raw.height,
        duplicates_removed=result.duplicates_removed,
        missing_cells=result.missing_cells,
        columns=result.columns,
        cleaning=result.cleaning,
        measures=invited.measures,
        groupings=invited.groupings,
        trends=invited.trends,
        colouring=invited.colouring,
        remarks=result.remarks + invited.remarks,
    )
