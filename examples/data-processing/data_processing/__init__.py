"""A mesh of agents that collects, cleans, analyses and draws any table.

The modules without `agent` in them know nothing of the mesh; `collector`, `cleaner`, `analyst` and `visualiser` put them behind functions.
"""
