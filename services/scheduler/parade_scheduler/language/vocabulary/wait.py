"""The words of what a step may wait for."""

from typing import Any, Final

from parade_scheduler.language.vocabulary.names import (
    APPROVER,
    CONDITION,
    DURATION,
    EVENT_TYPE,
    MAX_TEXT,
    SIGNAL_NAME,
    a_few,
    defined,
)
from parade_scheduler.language.vocabulary.word import Vocabulary, Word

_FILLED: Final[dict[str, Any]] = {"type": "string", "pattern": r"\$\{\{[\s\S]*\}\}"}
"""A text with expressions in it."""
_NOTHING: Final[dict[str, Any]] = {"type": "null"}

APPROVAL: Final = Vocabulary(
    "an approval",
    {
        "approvers": Word(
            "Who may resolve it: a SPIFFE id, `key:<id>`, `oidc:<issuer>#<subject>` or a list, `*` for any text without `/`; "
            "whoever may call but agents where not said.",
            a_few(APPROVER.value),
        ),
        "message": Word("What they are told.", {"type": ["string", "null"], "maxLength": MAX_TEXT}),
    },
)

SIGNAL: Final = Vocabulary(
    "a signal",
    {
        "name": Word("Its name.", SIGNAL_NAME.value, required=True),
        "schema": Word("A JSON Schema (2020-12) for its values; one that does not fit is refused to its sender.", {"type": "object"}),
    },
)

TIMER: Final = Vocabulary(
    "a timer",
    {
        "for": Word("How long.", {"anyOf": [DURATION, _FILLED]}),
        "until": Word("The time, as RFC 3339 writes it; one that has passed rings at once.", {"type": "string", "minLength": 1}),
    },
    one_of=("for", "until"),
)

EVENT: Final = Vocabulary(
    "an event",
    {
        "type": Word("Its type.", EVENT_TYPE.value, required=True),
        "if": Word("What must hold of it, an expression (CEL) over `event`.", CONDITION),
    },
)

WAIT: Final = Vocabulary(
    "`wait`",
    {
        "approval": Word("Somebody's approval; the step fails where it is rejected.", {"anyOf": [defined("approval"), _NOTHING]}),
        "signal": Word("A signal that the run is sent: its name, or a mapping.", {"anyOf": [SIGNAL_NAME.value, defined("signal")]}),
        "timer": Word("A time: how long, or a mapping.", {"anyOf": [DURATION, _FILLED, defined("timer")]}),
        "event": Word(
            "An event that is published in the namespace: its type, or a mapping.", {"anyOf": [EVENT_TYPE.value, defined("event")]}
        ),
    },
    one_of=("approval", "signal", "timer", "event"),
)
