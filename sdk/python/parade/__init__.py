"""Agents, clients and workflows for the Parade mesh."""
