"""The words of the language: what each means and which values it takes.

The reader knows its words from here, and the JSON Schema that editors use is made from here, so that the two cannot differ. What a schema
cannot say (that a step which is needed exists, that an expression can be computed) is for the reader alone.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from parade_scheduler.language import duration

MAX_TEXT: Final = 10_000
"""The longest description, in characters."""
MAX_STEPS: Final = 1_000
MAX_ITEMS: Final = 10_000
"""How many items a for-each may have."""
DEFAULT_PARALLEL: Final = 16
"""How many tasks of a for-each are under way at most where it does not say."""
MAX_ATTEMPTS: Final = 100
MIN_FACTOR: Final = 1.0
MAX_FACTOR: Final = 100.0

JSON_TYPES: Final = ("string", "number", "integer", "boolean", "object", "array", "null")
"""The values of an input's `type`."""


@dataclass(frozen=True, slots=True)
class Name:
    """What a name of some kind looks like."""

    what: str
    """What it is a name of, for messages."""
    pattern: re.Pattern[str]
    rule: str
    """The pattern in words."""

    @property
    def value(self) -> Mapping[str, Any]:
        """The names as JSON Schema."""
        return {"type": "string", "pattern": f"^{self.pattern.pattern}$"}


@dataclass(frozen=True, slots=True)
class Word:
    """One word."""

    description: str
    """What it means, for people."""
    value: Mapping[str, Any]
    """The values that may stand there, as JSON Schema. It takes every value that the reader takes."""
    required: bool = False
    beside: str = ""
    """The word without which it has no meaning; empty where it stands alone."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The words of one mapping of the document."""

    what: str
    """What the mapping is, for messages."""
    words: Mapping[str, Word]


WORKFLOW_NAME: Final = Name(
    "name of a workflow", re.compile(r"[a-z][a-z0-9-]{0,39}"), "a lower-case letter, then lower-case letters, digits or `-`, at most 40"
)
INPUT_NAME: Final = Name(
    "name of an input",
    re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}"),
    "a letter or `_`, then letters, digits or `_`, at most 63, so that `inputs.<name>` can be written",
)
STEP_ID: Final = Name(
    "id of a step",
    re.compile(r"[a-z][a-z0-9_]{0,62}"),
    "a lower-case letter, then lower-case letters, digits or `_`, at most 63, so that `steps.<id>` can be written",
)
FUNCTION: Final = Name("function", re.compile(r"[a-z][a-z0-9-]{0,39}\.[A-Za-z][A-Za-z0-9_-]{0,62}"), "write `agent.function`")

_TEXT: Final = {"type": ["string", "null"], "maxLength": MAX_TEXT}
_DURATION: Final = {"type": "string", "pattern": f"^{duration.PATTERN}$", "examples": ["500ms", "2s", "5m", "1h"]}
_EXPRESSION: Final = {"type": "string", "pattern": r"^\$\{\{[\s\S]*\}\}\s*$"}
"""A text that is one `${{ expression }}`."""

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
        "description": Word("What it is, for people.", _TEXT),
        "default": Word("What it is where a run is not given it.", {}),
        "required": Word("Whether a run must be given it; true where it has no default.", {"type": "boolean"}),
        "schema": Word("A whole JSON Schema (2020-12) for its values, instead of single words of one.", {"type": "object"}),
        **JSON_SCHEMA,
    },
)

RETRY: Final = Vocabulary(
    "`retry`",
    {
        "attempts": Word("How often it is tried in all.", {"type": "integer", "minimum": 1, "maximum": MAX_ATTEMPTS}, required=True),
        "delay": Word("The pause before the second attempt; 1s where not said.", _DURATION),
        "factor": Word(
            "By how much each pause is longer than the last; 2 where not said.",
            {"type": "number", "minimum": MIN_FACTOR, "maximum": MAX_FACTOR},
        ),
        "max-delay": Word("The longest pause; 1m where not said.", _DURATION),
    },
)

STEP: Final = Vocabulary(
    "a step",
    {
        "call": Word("The function that it calls, `agent.function`.", FUNCTION.value, required=True),
        "description": Word("What it does, for people.", _TEXT),
        "needs": Word(
            "The steps that must have succeeded first: an id or a list.",
            {"anyOf": [STEP_ID.value, {"type": "array", "items": STEP_ID.value}]},
        ),
        "if": Word(
            "A condition, an expression (CEL). Where it is false the step is skipped, and so are the steps that need it.",
            {"type": ["boolean", "string"], "minLength": 1},
        ),
        "with": Word(
            "The function's arguments by name, or one `${{ expression }}` that gives them.", {"anyOf": [{"type": "object"}, _EXPRESSION]}
        ),
        "for-each": Word(
            "A list, or one `${{ expression }}` that gives one: the step has one task for each item.",
            {"anyOf": [{"type": "array", "maxItems": MAX_ITEMS}, _EXPRESSION]},
        ),
        "max-parallel": Word(
            f"How many of these tasks are under way at once; {DEFAULT_PARALLEL} where not said.",
            {"type": "integer", "minimum": 1, "maximum": MAX_ITEMS},
            beside="for-each",
        ),
        "retry": Word("How often and when the function is tried again after it failed.", {"$ref": "#/definitions/retry"}),
        "timeout": Word("The longest one attempt may take, with all waiting for a free instance.", _DURATION),
    },
)

WORKFLOW: Final = Vocabulary(
    "a workflow",
    {
        "name": Word("Its name, by which its runs are started.", WORKFLOW_NAME.value, required=True),
        "description": Word("What it does, for people.", _TEXT),
        "inputs": Word(
            "What a run is given, by name.",
            {
                "type": ["object", "null"],
                "propertyNames": INPUT_NAME.value,
                "additionalProperties": {"anyOf": [{"$ref": "#/definitions/input"}, {"type": "null"}]},
            },
        ),
        "timeout": Word("The longest a run may take; then it ends as FAILED with DEADLINE_EXCEEDED.", _DURATION),
        "steps": Word(
            "The steps by id.",
            {
                "type": "object",
                "minProperties": 1,
                "maxProperties": MAX_STEPS,
                "propertyNames": STEP_ID.value,
                "additionalProperties": {"$ref": "#/definitions/step"},
            },
            required=True,
        ),
        "outputs": Word("What the run gives, by name; evaluated when every step has ended well.", {"type": ["object", "null"]}),
    },
)
