"""The words at the top of a definition, and of what starts its runs."""

from typing import Final

from parade_scheduler.language.vocabulary.names import (
    ARGUMENTS,
    CATCH_UP,
    CONDITION,
    DURATION,
    EVENT_TYPE,
    INPUT_NAME,
    MAX_CRON,
    MAX_GROUP_RUNS,
    MAX_LISTED,
    MAX_PRIORITY,
    MAX_STEPS,
    STEP_ID,
    TEXT,
    VARIABLE_NAME,
    WORKFLOW_NAME,
    a_few,
    defined,
)
from parade_scheduler.language.vocabulary.word import Vocabulary, Word

SCHEDULE: Final = Vocabulary(
    "a schedule",
    {
        "cron": Word(
            "When: minute, hour, day of the month, month and day of the week, as cron has them.",
            {"type": "string", "maxLength": MAX_CRON, "examples": ["0 6 * * 1-5"]},
            required=True,
        ),
        "time-zone": Word("Where it is that time, an IANA name such as `Europe/Berlin`; UTC where not said.", {"type": "string"}),
        "catch-up": Word(
            "Which of the times that passed while no scheduler ran still start a run: `none`, the `last` (where not said) or `all`.",
            {"enum": list(CATCH_UP)},
        ),
        "inputs": Word("The inputs of its runs, by name.", ARGUMENTS),
    },
)

TRIGGER: Final = Vocabulary(
    "an event",
    {
        "type": Word("Its type.", EVENT_TYPE.value, required=True),
        "if": Word("What must hold of it, an expression (CEL) over `event`.", CONDITION),
        "with": Word("The inputs of the run by name, or one `${{ expression }}` that gives them; they see `event`.", ARGUMENTS),
    },
)

ON: Final = Vocabulary(
    "`on`",
    {
        "manual": Word("Whether somebody may start a run by hand; true where not said.", {"type": "boolean"}),
        "schedule": Word("Times at which runs start: one or a list.", a_few(defined("schedule"))),
        "event": Word("Events that start runs: one or a list.", a_few(defined("trigger"))),
    },
)

CONCURRENCY: Final = Vocabulary(
    "`concurrency`",
    {
        "group": Word("The group's name, which may hold expressions over `inputs`.", {"type": "string", "minLength": 1}, required=True),
        "limit": Word(
            "How many of its runs go on at once; 1 where not said.", {"type": "integer", "minimum": 1, "maximum": MAX_GROUP_RUNS}
        ),
        "cancel-in-progress": Word("Whether a new run cancels the oldest instead of waiting for it.", {"type": "boolean"}),
    },
)

WORKFLOW: Final = Vocabulary(
    "a workflow",
    {
        "name": Word("Its name, by which its runs are started.", WORKFLOW_NAME.value, required=True),
        "description": Word("What it does, for people.", TEXT),
        "on": Word("What starts its runs beside people and programs that ask for it.", {"anyOf": [defined("on"), {"type": "null"}]}),
        "inputs": Word(
            "What a run is given, by name.",
            {
                "type": ["object", "null"],
                "propertyNames": INPUT_NAME.value,
                "additionalProperties": {"anyOf": [defined("input"), {"type": "null"}]},
            },
        ),
        "env": Word(
            "Values that steps see as `env.<name>`; they may hold `inputs` and `secrets`, and are not kept on record.",
            {"type": ["object", "null"], "propertyNames": VARIABLE_NAME.value, "maxProperties": MAX_LISTED},
        ),
        "concurrency": Word(
            "The group of runs of which so many go on at once and the others wait: its name, or a mapping.",
            {"anyOf": [{"type": "string", "minLength": 1}, defined("concurrency")]},
        ),
        "priority": Word(
            "Which of the runs that wait for a free place goes first: the highest; 0 where not said.",
            {"type": "integer", "minimum": -MAX_PRIORITY, "maximum": MAX_PRIORITY},
        ),
        "timeout": Word("The longest a run may take; then it ends as FAILED with DEADLINE_EXCEEDED.", DURATION),
        "steps": Word(
            "The steps by id.",
            {
                "type": "object",
                "minProperties": 1,
                "maxProperties": MAX_STEPS,
                "propertyNames": STEP_ID.value,
                "additionalProperties": defined("step"),
            },
            required=True,
        ),
        "outputs": Word("What the run gives, by name; evaluated when every step has ended well.", {"type": ["object", "null"]}),
    },
)
