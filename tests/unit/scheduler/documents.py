"""Documents for tests, read as the scheduler reads them and held against the JSON Schema of the language."""

import json
from typing import Any

import jsonschema_rs
import pytest

from parade.wire.errors import ParadeError, Reason
from parade_scheduler import language
from parade_scheduler.language import Definition, schema

_VALIDATOR = jsonschema_rs.Draft7Validator(schema())

REPORT = """\
name: sales-report
description: >
  Reads, cleans,
  describes.
timeout: 10m
inputs:
  source: {type: string, description: where from}
  on: {type: boolean, default: false}
  limit: {schema: {type: integer, minimum: 1}, required: false}
steps:
  collect:
    call: collector.fetch
    with: {url: "${{ inputs.source }}", deep: [{a: "x ${{ run.id }} y"}]}
  clean:
    call: cleaner.clean-up
    needs: collect
    retry: {attempts: 3, delay: 500ms, factor: 3, max-delay: 1m}
    with:
      rows: ${{ steps.collect.output.rows }}
  describe:
    call: analyst.describe
    needs: [clean]
    for-each: ${{ steps.clean.output.columns }}
    max-parallel: 4
    with: {column: "${{ item }}", place: "${{ index }}"}
    timeout: 1m30s
  complain:
    call: teller.tell
    needs: describe
    if: failure
outputs:
  report: ${{ steps.describe.output }}
"""
"""A workflow with most of what one has."""


def refusals(document: Any) -> list[str]:
    """Returns what the schema has against a document."""
    return [f"{error.instance_path}: {error.message}" for error in _VALIDATOR.iter_errors(document)]


def read(source: str) -> Definition:
    """Reads a document. Whatever the reader takes, the schema for editors must take."""
    definition = language.read(source)
    assert refusals(json.loads(definition.canonical)) == []
    return definition


def faults(source: str) -> list[tuple[int, str, str]]:
    """Returns line, field and description of every fault of a document that must have one."""
    with pytest.raises(ParadeError) as caught:
        read(source)
    assert caught.value.reason is Reason.INVALID_ARGUMENTS
    return [(violation.line, violation.field, violation.description) for violation in caught.value.violations]


def step(words: str, head: str = "") -> str:
    """Returns a workflow whose step `x` has these words from line 5 on."""
    indented = "\n".join(f"    {line}" for line in words.split("\n"))
    return f"name: flow\nsteps:\n  before: {{call: a.b}}\n  x:\n{indented}\n{head}"
