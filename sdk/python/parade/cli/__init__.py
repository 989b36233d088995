"""The command line, `parade`: one module a noun. What is heavy is imported by the command that needs it, so that each starts fast."""
