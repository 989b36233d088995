"""The names that people give in a definition, the limits of the language, and the values that many words take."""

import re
from collections.abc import Mapping
from typing import Any, Final

from parade_scheduler.language import duration
from parade_scheduler.language.vocabulary.word import Name

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
MAX_TURNS: Final = 10_000
"""How often a loop may turn."""
MAX_PRIORITY: Final = 100
"""The highest priority; the lowest is as far below zero."""
MAX_GROUP_RUNS: Final = 10_000
"""How many runs of a concurrency group may be let go on at once."""
MAX_LISTED: Final = 100
"""How many schedules, events, approvers, variables of the environment or kinds of failures may be listed."""
MAX_CRON: Final = 200
"""The longest cron expression, in characters."""
CATCH_UP: Final = ("none", "last", "all")
"""What may become of times that passed unused."""
WHEN: Final = ("success", "failure", "always")
"""The values of a step's `when`."""

WORKFLOW_NAME: Final = Name(
    "name of a workflow", re.compile(r"[a-z][a-z0-9-]{0,39}"), "a lower-case letter, then lower-case letters, digits or `-`, at most 40"
)
INPUT_NAME: Final = Name(
    "name of an input",
    re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}"),
    "a letter or `_`, then letters, digits or `_`, at most 63, so that `inputs.<name>` can be written",
)
VARIABLE_NAME: Final = Name(
    "name of a variable",
    re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}"),
    "a letter or `_`, then letters, digits or `_`, at most 63, so that `env.<name>` can be written",
)
STEP_ID: Final = Name(
    "id of a step",
    re.compile(r"[a-z][a-z0-9_]{0,62}"),
    "a lower-case letter, then lower-case letters, digits or `_`, at most 63, so that `steps.<id>` can be written",
)
FUNCTION: Final = Name("function", re.compile(r"[a-z][a-z0-9-]{0,39}\.[A-Za-z][A-Za-z0-9_-]{0,62}"), "write `agent.function`")
RUN_NAME: Final = Name(
    "workflow to run",
    re.compile(r"[a-z][a-z0-9-]{0,39}(\.[A-Za-z][A-Za-z0-9_-]{0,62})?"),
    "write the name of a workflow, or `agent.function` for a durable function",
)
SIGNAL_NAME: Final = Name(
    "name of a signal", re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,62}"), "a letter or `_`, then letters, digits, `_` or `-`, at most 63"
)
EVENT_TYPE: Final = Name("type of events", re.compile(r"[A-Za-z0-9._-]{1,128}"), "letters, digits, `.`, `_` or `-`, at most 128")
FAILURE: Final = Name(
    "kind of failure",
    re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}"),
    "a reason such as `AGENT_ERROR`, or the type of an exception such as `TimeoutError`, without its module",
)
APPROVER: Final = Name(
    "approver",
    re.compile(r"(spiffe://[a-z0-9._*-]{1,255}/|key:|oidc:https?://)[!-~]{1,1024}"),
    "a SPIFFE id such as `spiffe://example.org/ns/default/client/ada`, `key:<id>` or `oidc:<issuer>#<subject>`, "
    "in which `*` stands for any text without `/`",
)

TEXT: Final[Mapping[str, Any]] = {"type": ["string", "null"], "maxLength": MAX_TEXT}
DURATION: Final[Mapping[str, Any]] = {
    "type": "string",
    "pattern": f"^{duration.PATTERN}$",
    "examples": ["500ms", "2s", "5m", "1h"],
}
EXPRESSION: Final[Mapping[str, Any]] = {"type": "string", "pattern": r"^\$\{\{[\s\S]*\}\}\s*$"}
"""A text that is one `${{ expression }}`."""
CONDITION: Final[Mapping[str, Any]] = {"type": ["boolean", "string"], "minLength": 1}
"""An expression with or without its braces."""
ARGUMENTS: Final[Mapping[str, Any]] = {"anyOf": [{"type": "object"}, EXPRESSION]}


def one_or_many(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """Returns the schema of a value or a list of such values."""
    return {"anyOf": [value, {"type": "array", "items": value}]}


def a_few(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """Returns the schema of a value or a list of 1 to `MAX_LISTED` such values."""
    return {"anyOf": [value, {"type": "array", "minItems": 1, "maxItems": MAX_LISTED, "items": value}]}


def defined(name: str) -> Mapping[str, Any]:
    """Returns the schema of a mapping of which the definitions tell."""
    return {"$ref": f"#/definitions/{name}"}
