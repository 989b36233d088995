"""Holds documents against the JSON Schema of the language."""

from typing import Any

import jsonschema_rs

from parade_scheduler.language import schema

_VALIDATOR = jsonschema_rs.Draft7Validator(schema())


def refusals(document: Any) -> list[str]:
    """Returns what the schema has against a document."""
    return [f"{error.instance_path}: {error.message}" for error in _VALIDATOR.iter_errors(document)]
