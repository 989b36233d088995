"""The project that `parade init` writes."""
