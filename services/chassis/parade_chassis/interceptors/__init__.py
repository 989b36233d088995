"""What stands around every handler: context, telemetry, authorization, in this order, and errors. One concern a file."""
