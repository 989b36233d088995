"""What was observed: OTLP in, questions out. Nothing needs it to work."""
