"""Agents, clients and workflows for the Parade mesh."""

import os

# gRPC's own log lines go straight to standard error and cannot be told apart from a program's; what matters of them is raised as an error.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
