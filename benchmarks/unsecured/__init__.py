"""What turns the checks of a mesh off, for `benchmarks.security`: its folder in PYTHONPATH does, and nothing that is released knows it."""
