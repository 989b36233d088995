"""The language as a JSON Schema, so that editors complete its words and underline what is wrong as it is typed."""

from typing import Any, Final

from parade_scheduler.language.vocabulary import INPUT, RETRY, STEP, WORKFLOW, Vocabulary

DIALECT: Final = "http://json-schema.org/draft-07/schema#"
"""Draft 7, which every editor knows. An input's own schema is of 2020-12; of that nothing is said here but that it is one."""


def schema() -> dict[str, Any]:
    """Returns the schema of a workflow. What it refuses the reader refuses too; expressions and references are left to the reader."""
    return {
        "$schema": DIALECT,
        "title": "Parade workflow",
        "description": "A workflow of the Parade mesh.",
        **_mapping(WORKFLOW),
        "definitions": {"step": _mapping(STEP), "retry": _mapping(RETRY), "input": _mapping(INPUT)},
    }


def _mapping(vocabulary: Vocabulary) -> dict[str, Any]:
    words = vocabulary.words
    return {
        "type": "object",
        "additionalProperties": False,
        "required": [name for name, word in words.items() if word.required],
        "dependencies": {name: [word.beside] for name, word in words.items() if word.beside},
        # Draft 7 ignores what stands beside a `$ref`, so a description goes with one only within an `allOf`.
        "properties": {
            name: {"description": word.description, **({"allOf": [word.value]} if "$ref" in word.value else word.value)}
            for name, word in words.items()
        },
    }
