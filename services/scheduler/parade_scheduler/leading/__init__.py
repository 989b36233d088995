"""The one writer of runs: what happens to which, in memory and then in the store."""
