"""The workflow language: a YAML or JSON text in, a `Definition` out."""

from parade_scheduler.language.definition import Definition, Retry, StepDefinition
from parade_scheduler.language.inputs import Input, Inputs
from parade_scheduler.language.reader import read
from parade_scheduler.language.steps import MAX_ITEMS
from parade_scheduler.language.template import Template, computed

__all__ = ["MAX_ITEMS", "Definition", "Input", "Inputs", "Retry", "StepDefinition", "Template", "computed", "read"]
