"""Renders the JSON Schema of the workflow language from the words that its reader knows."""

import json

from parade_scheduler import language


def render() -> str:
    """Returns the schema, as JSON."""
    return json.dumps(language.schema(), indent=2, ensure_ascii=False) + "\n"
