"""What both ends of a connection must agree on: identities, errors on the wire, credentials, channels, telemetry."""
