"""The words of the language: what each means and which values it takes.

The reader knows its words from here, and the JSON Schema that editors use is made from here, so that the two cannot differ. What a schema
cannot say (that a step which is needed exists, that an expression can be computed) is for the reader alone.
"""

from parade_scheduler.language.vocabulary.inputs import INPUT, JSON_SCHEMA, JSON_TYPES
from parade_scheduler.language.vocabulary.names import MAX_ITEMS
from parade_scheduler.language.vocabulary.step import COMPENSATE, LOOP, RETRY, STEP
from parade_scheduler.language.vocabulary.wait import APPROVAL, EVENT, SIGNAL, TIMER, WAIT
from parade_scheduler.language.vocabulary.word import Name, Vocabulary, Word
from parade_scheduler.language.vocabulary.workflow import CONCURRENCY, ON, SCHEDULE, TRIGGER, WORKFLOW

DEFINED = {
    "step": STEP,
    "wait": WAIT,
    "approval": APPROVAL,
    "signal": SIGNAL,
    "timer": TIMER,
    "event": EVENT,
    "loop": LOOP,
    "retry": RETRY,
    "compensate": COMPENSATE,
    "input": INPUT,
    "on": ON,
    "schedule": SCHEDULE,
    "trigger": TRIGGER,
    "concurrency": CONCURRENCY,
}
"""Every mapping below the document, by the name that its words are referred to by."""

__all__ = [
    "APPROVAL",
    "COMPENSATE",
    "CONCURRENCY",
    "DEFINED",
    "EVENT",
    "INPUT",
    "JSON_SCHEMA",
    "JSON_TYPES",
    "LOOP",
    "MAX_ITEMS",
    "ON",
    "RETRY",
    "SCHEDULE",
    "SIGNAL",
    "STEP",
    "TIMER",
    "TRIGGER",
    "WAIT",
    "WORKFLOW",
    "Name",
    "Vocabulary",
    "Word",
]
