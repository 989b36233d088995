"""The words of an input."""

from collections.abc import Mapping
from typing import Final

from parade_scheduler.language.vocabulary.names import TEXT
from parade_scheduler.language.vocabulary.word import Vocabulary, Word

JSON_TYPES: Final = ("string", "number", "integer", "boolean", "object", "array", "null")
"""The values of an input's `type`."""

_NUMBER: Final = {"type": "number"}
_COUNT: Final = {"type": "integer", "minimum": 0}
_SCHEMA: Final = {"type": ["object", "boolean"]}
_SCHEMAS: Final = {"type": "array", "minItems": 1, "items": _SCHEMA}
_SCHEMAS_BY_NAME: Final = {"type": "object", "additionalProperties": _SCHEMA}

JSON_SCHEMA: Final[Mapping[str, Word]] = {
    "type": Word(
        "The type of its values.",
        {"anyOf": [{"enum": list(JSON_TYPES)}, {"type": "array", "minItems": 1, "uniqueItems": True, "items": {"enum": list(JSON_TYPES)}}]},
    ),
    "enum": Word("The values that there are.", {"type": "array"}),
    "const": Word("The one value that there is.", {}),
    "format": Word("What a text is, for example `date`.", {"type": "string"}),
    "title": Word("A short name for people.", {"type": "string"}),
    "examples": Word("Values that show what is meant.", {"type": "array"}),
    "minimum": Word("The least number.", _NUMBER),
    "maximum": Word("The greatest number.", _NUMBER),
    "exclusiveMinimum": Word("The number that all must exceed.", _NUMBER),
    "exclusiveMaximum": Word("The number that all must stay below.", _NUMBER),
    "multipleOf": Word("The number that all are multiples of.", {"type": "number", "exclusiveMinimum": 0}),
    "minLength": Word("The fewest characters.", _COUNT),
    "maxLength": Word("The most characters.", _COUNT),
    "pattern": Word("A regular expression that a text has in it.", {"type": "string"}),
    "items": Word("The schema of every item.", _SCHEMA),
    "prefixItems": Word("The schemas of the first items, in order.", _SCHEMAS),
    "minItems": Word("The fewest items.", _COUNT),
    "maxItems": Word("The most items.", _COUNT),
    "uniqueItems": Word("Whether no item may stand twice.", {"type": "boolean"}),
    "contains": Word("A schema that at least one item fits.", _SCHEMA),
    "properties": Word("The schemas of properties, by name.", _SCHEMAS_BY_NAME),
    "patternProperties": Word("The schemas of properties, by a regular expression for their names.", _SCHEMAS_BY_NAME),
    "additionalProperties": Word("The schema of all other properties; `false` where there may be none.", _SCHEMA),
    "propertyNames": Word("The schema of the properties' names.", _SCHEMA),
    "minProperties": Word("The fewest properties.", _COUNT),
    "maxProperties": Word("The most properties.", _COUNT),
    "anyOf": Word("Schemas of which a value fits at least one.", _SCHEMAS),
    "oneOf": Word("Schemas of which a value fits exactly one.", _SCHEMAS),
    "allOf": Word("Schemas of which a value fits all.", _SCHEMAS),
    "not": Word("A schema that no value fits.", _SCHEMA),
}
"""The words of JSON Schema that an input may have beside its own; all others stand in `schema`, for `required` is an input's own word."""

INPUT: Final = Vocabulary(
    "an input",
    {
        "description": Word("What it is, for people.", TEXT),
        "default": Word("What it is where a run is not given it.", {}),
        "required": Word("Whether a run must be given it; true where it has no default.", {"type": "boolean"}),
        "schema": Word("A whole JSON Schema (2020-12) for its values, instead of single words of one.", {"type": "object"}),
        **JSON_SCHEMA,
    },
)
