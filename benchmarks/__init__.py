"""How fast Parade is, each case beside a named rival in the same run."""
