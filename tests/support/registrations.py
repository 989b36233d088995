"""What tests say of agents that do not exist: functions and registrations."""

from typing import Any

from parade_agent_manager.model import Effect, Function, Registration


def function(name: str = "clean", **changes: Any) -> Function:
    """Returns a function that can be registered, changed where a test wants it otherwise."""
    values: dict[str, Any] = {
        "name": name,
        "description": "Cleans rows",
        "arguments_schema": b'{"type": "object"}',
        "result_schema": b"{}",
        "effect": Effect.PURE,
        "timeout": 30.0,
        "streaming": False,
    }
    return Function(**{**values, **changes})


def registration(**changes: Any) -> Registration:
    """Returns a registration that can be accepted, changed where a test wants it otherwise."""
    values: dict[str, Any] = {
        "address": "127.0.0.1:7100",
        "functions": (function(),),
        "version": "1.2",
        "labels": {"zone": "a"},
        "max_concurrency": 8,
        "pid": 4711,
        "host": "worker-1",
    }
    return Registration(**{**values, **changes})
