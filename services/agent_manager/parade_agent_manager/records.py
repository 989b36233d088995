"""How registrations and functions are written into the store, as JSON."""

import json
from dataclasses import asdict
from typing import Any

from parade_agent_manager.model import Effect, Function, Registration, RetryPolicy


def functions_to_text(functions: tuple[Function, ...]) -> str:
    """Returns functions as JSON."""
    return json.dumps([_function_to_record(function) for function in functions])


def functions_from_text(text: str) -> tuple[Function, ...]:
    """Reads what `functions_to_text` wrote."""
    return tuple(_function_from_record(record) for record in json.loads(text))


def registration_to_text(registration: Registration) -> str:
    """Returns a registration as JSON."""
    return json.dumps(
        {
            "address": registration.address,
            "functions": [_function_to_record(function) for function in registration.functions],
            "version": registration.version,
            "labels": dict(registration.labels),
            "max_concurrency": registration.max_concurrency,
            "pid": registration.pid,
            "host": registration.host,
        }
    )


def registration_from_text(text: str) -> Registration:
    """Reads what `registration_to_text` wrote."""
    record = json.loads(text)
    functions = tuple(_function_from_record(function) for function in record.pop("functions"))
    return Registration(functions=functions, **record)


def _function_to_record(function: Function) -> dict[str, Any]:
    return {
        "name": function.name,
        "description": function.description,
        "arguments_schema": function.arguments_schema.decode("utf-8"),
        "result_schema": function.result_schema.decode("utf-8"),
        "effect": function.effect.value,
        "timeout": function.timeout,
        "streaming": function.streaming,
        "retry": None if function.retry is None else asdict(function.retry),
        "durable": function.durable,
    }


def _function_from_record(record: dict[str, Any]) -> Function:
    return Function(
        name=record["name"],
        description=record["description"],
        arguments_schema=record["arguments_schema"].encode("utf-8"),
        result_schema=record["result_schema"].encode("utf-8"),
        effect=Effect(record["effect"]),
        timeout=record["timeout"],
        streaming=record["streaming"],
        retry=RetryPolicy(**record["retry"]) if record.get("retry") else None,
        durable=record.get("durable", False),
    )
