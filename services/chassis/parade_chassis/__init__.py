"""What every Parade service stands on: server, identity, store, lifecycle, logs, time."""
