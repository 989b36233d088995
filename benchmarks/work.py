"""How much work a call is, where it is any: the same for the mesh and for its rivals."""

WORK = 0.005
"""Seconds, on average; exponentially distributed."""
