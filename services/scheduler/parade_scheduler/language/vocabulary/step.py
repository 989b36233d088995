"""The words of a step."""

from typing import Final

from parade_scheduler.language.vocabulary.names import (
    ARGUMENTS,
    CONDITION,
    DEFAULT_PARALLEL,
    DURATION,
    EXPRESSION,
    FAILURE,
    FUNCTION,
    MAX_ATTEMPTS,
    MAX_FACTOR,
    MAX_ITEMS,
    MAX_LISTED,
    MAX_TURNS,
    MIN_FACTOR,
    RUN_NAME,
    STEP_ID,
    TEXT,
    WHEN,
    a_few,
    defined,
    one_or_many,
)
from parade_scheduler.language.vocabulary.word import Vocabulary, Word

_DOES: Final = ("call", "run")
_BEGINS: Final = ("call", "run", "wait")

RETRY: Final = Vocabulary(
    "`retry`",
    {
        "attempts": Word("How often it is tried in all.", {"type": "integer", "minimum": 1, "maximum": MAX_ATTEMPTS}, required=True),
        "delay": Word("The pause before the second attempt; 1s where not said.", DURATION),
        "factor": Word(
            "By how much each pause is longer than the last; 2 where not said.",
            {"type": "number", "minimum": MIN_FACTOR, "maximum": MAX_FACTOR},
        ),
        "max-delay": Word("The longest pause; 1m where not said.", DURATION),
        "jitter": Word(
            "By what part of itself a pause may be longer by chance; 0.25 where not said.", {"type": "number", "minimum": 0, "maximum": 1}
        ),
        "on": Word("The only failures after which it is tried again: reasons or types of exceptions.", a_few(FAILURE.value)),
        "never": Word("Failures after which it is not tried again: reasons or types of exceptions.", a_few(FAILURE.value)),
    },
)

LOOP: Final = Vocabulary(
    "`loop`",
    {
        "until": Word(
            "The turn after which this holds is the last, an expression (CEL) over its `output` and `index`.", CONDITION, required=True
        ),
        "limit": Word(
            "How many turns there may be; a step that is not done then has failed.",
            {"type": "integer", "minimum": 1, "maximum": MAX_TURNS},
            required=True,
        ),
    },
)

COMPENSATE: Final = Vocabulary(
    "`compensate`",
    {
        "call": Word("The function that undoes the step, `agent.function`.", FUNCTION.value),
        "run": Word("The workflow that undoes the step, or a durable function.", RUN_NAME.value),
        "with": Word("Its arguments by name, or one `${{ expression }}` that gives them; `output` is what the step gave.", ARGUMENTS),
        "retry": Word("How often and when it is tried again after it failed.", defined("retry")),
        "timeout": Word("The longest one attempt may take.", DURATION),
    },
    one_of=_DOES,
)

STEP: Final = Vocabulary(
    "a step",
    {
        "call": Word("The function that it calls, `agent.function`.", FUNCTION.value),
        "run": Word(
            "The workflow that it runs, or a durable function; its inputs stand in `with`, and its outputs are the step's output.",
            RUN_NAME.value,
        ),
        "wait": Word("What it waits for.", defined("wait")),
        "race": Word(
            "Steps of which the first that succeeds wins; the others are cancelled.",
            {"type": "array", "minItems": 2, "maxItems": MAX_LISTED, "items": STEP_ID.value},
        ),
        "description": Word("What it does, for people.", TEXT),
        "needs": Word("The steps that must have succeeded first: an id or a list.", one_or_many(STEP_ID.value), beside=_BEGINS),
        "if": Word(
            "A condition, an expression (CEL). Where it is false the step is skipped, and so are the steps that need it.",
            CONDITION,
            beside=_BEGINS,
        ),
        "when": Word(
            "Whether it runs after needed steps that succeeded (`success`, where not said), after a `failure`, or `always`.",
            {"enum": list(WHEN)},
            beside=_BEGINS,
        ),
        "with": Word("The arguments by name, or one `${{ expression }}` that gives them.", ARGUMENTS, beside=_DOES),
        "for-each": Word(
            "A list, or one `${{ expression }}` that gives one: the step has one task for each item.",
            {"anyOf": [{"type": "array", "maxItems": MAX_ITEMS}, EXPRESSION]},
            beside=_BEGINS,
            without=("loop",),
        ),
        "max-parallel": Word(
            f"How many of these tasks are under way at once; {DEFAULT_PARALLEL} where not said.",
            {"type": "integer", "minimum": 1, "maximum": MAX_ITEMS},
            beside=("for-each",),
        ),
        "loop": Word("Until when it is repeated.", defined("loop"), beside=_BEGINS),
        "retry": Word("How often and when it is tried again after it failed.", defined("retry"), beside=_DOES),
        "timeout": Word(
            "The longest one attempt may take, with all waiting for a free instance, or what it waits for.", DURATION, beside=_BEGINS
        ),
        "compensate": Word(
            "What undoes it where the run then fails or is cancelled; the last step that succeeded is undone first.",
            defined("compensate"),
            beside=_BEGINS,
        ),
    },
    one_of=("call", "run", "wait", "race"),
)
