"""What stands around every handler, in this order: context, telemetry, errors, authorization. One concern a file."""
