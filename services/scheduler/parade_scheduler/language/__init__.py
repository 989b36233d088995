"""The workflow language: a YAML or JSON text in, a `Definition` out."""

from parade_scheduler.language.definition import Definition, Retry, StepDefinition
from parade_scheduler.language.faults import Fault, Faults
from parade_scheduler.language.inputs import Input, Inputs
from parade_scheduler.language.reader import Examined, examine, read
from parade_scheduler.language.schema import schema
from parade_scheduler.language.template import Template, computed
from parade_scheduler.language.vocabulary import MAX_ITEMS

__all__ = [
    "MAX_ITEMS",
    "Definition",
    "Examined",
    "Fault",
    "Faults",
    "Input",
    "Inputs",
    "Retry",
    "StepDefinition",
    "Template",
    "computed",
    "examine",
    "read",
    "schema",
]
