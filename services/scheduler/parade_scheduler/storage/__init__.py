"""What survives a restart, and how it gets there."""
