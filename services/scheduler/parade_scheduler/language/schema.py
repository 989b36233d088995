"""The language as a JSON Schema, so that editors complete its words and underline what is wrong as it is typed."""

from typing import Any, Final

from parade_scheduler.language.vocabulary import DEFINED, WORKFLOW, Vocabulary

DIALECT: Final = "http://json-schema.org/draft-07/schema#"
"""Draft 7, which every editor knows. An input's own schema is of 2020-12; of that nothing is said here but that it is one."""


def schema() -> dict[str, Any]:
    """Returns the schema of a workflow. What it refuses the reader refuses too; expressions and references are left to the reader."""
    return {
        "$schema": DIALECT,
        "title": "Parade workflow",
        "description": "A workflow of the Parade mesh.",
        **_mapping(WORKFLOW),
        "definitions": {name: _mapping(vocabulary) for name, vocabulary in DEFINED.items()},
    }


def _mapping(vocabulary: Vocabulary) -> dict[str, Any]:
    words = vocabulary.words
    result: dict[str, Any] = {
        "type": "object",
        "additionalProperties": False,
        "required": [name for name, word in words.items() if word.required],
        "dependencies": {name: _beside(word.beside, word.without) for name, word in words.items() if word.beside or word.without},
        # Draft 7 ignores what stands beside a `$ref`, so a description goes with one only within an `allOf`.
        "properties": {
            name: {"description": word.description, **({"allOf": [word.value]} if "$ref" in word.value else word.value)}
            for name, word in words.items()
        },
    }
    if vocabulary.one_of:
        result["oneOf"] = _any(vocabulary.one_of)
    return result


def _beside(beside: tuple[str, ...], without: tuple[str, ...]) -> dict[str, Any] | list[str]:
    """Returns what must stand beside a word, and what must not."""
    if len(beside) == 1 and not without:
        return list(beside)
    rules: dict[str, Any] = {}
    if beside:
        rules["anyOf"] = _any(beside)
    if without:
        rules["not"] = {"anyOf": _any(without)}
    return rules


def _any(words: tuple[str, ...]) -> list[dict[str, Any]]:
    return [{"required": [word]} for word in words]
