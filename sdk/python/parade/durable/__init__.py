"""Durable functions: ordinary coroutines whose every step is on record, so that they go on after whatever process ran them is gone."""
