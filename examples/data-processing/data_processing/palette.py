"""The colours of charts: variables that the report's style sheet sets for light and dark, with the light ones to fall back on."""

INK = "var(--ink, #1d2430)"
MUTED = "var(--muted, #5b6573)"
GRID = "var(--grid, #e3e7ec)"
SURFACE = "var(--surface, #ffffff)"
POSITIVE = "var(--positive, #2f6fd0)"
NEGATIVE = "var(--negative, #d9622b)"
SERIES = (
    "var(--series-1, #2f6fd0)",
    "var(--series-2, #d9622b)",
    "var(--series-3, #17936b)",
    "var(--series-4, #7a4fc4)",
    "var(--series-5, #b98900)",
)
"""Groups, in the order in which they are told apart best."""
