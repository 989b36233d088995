"""The outside: REST, Server-Sent Events and the reference page, built from the contracts."""
