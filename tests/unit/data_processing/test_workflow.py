from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

from data_processing import analyst, cleaner, collector, demo, visualiser
from data_processing.model.report import Report

AGENTS = {agent.name: agent for agent in (collector.agent, cleaner.agent, analyst.agent, visualiser.agent)}
DOCUMENT: dict[str, Any] = yaml.safe_load(demo.WORKFLOW.read_text())


@pytest.mark.parametrize("step", DOCUMENT["steps"])
def test_every_step_gives_its_function_just_the_arguments_that_it_takes(step: str) -> None:
    words = DOCUMENT["steps"][step]
    agent, _, name = words["call"].partition(".")

    schema = orjson.loads(AGENTS[agent].functions[name].arguments_schema)

    assert set(words["with"]) == set(schema["properties"]) == set(schema["required"])


@pytest.mark.parametrize("step", DOCUMENT["steps"])
def test_every_step_needs_the_steps_that_it_speaks_of(step: str) -> None:
    words = DOCUMENT["steps"][step]
    spoken_of = {other for other in DOCUMENT["steps"] if f"steps.{other}.output" in yaml.safe_dump(words)}

    assert set(words.get("needs", [])) == spoken_of


def test_no_function_does_more_when_it_is_repeated() -> None:
    effects = {function.effect for agent in AGENTS.values() for function in agent.functions.values()}

    assert effects == {"pure", "idempotent"}


def test_the_outputs_are_the_report() -> None:
    assert set(DOCUMENT["outputs"]) == set(Report.model_fields)


def test_the_demonstration_serves_every_agent_that_the_workflow_calls() -> None:
    called = {words["call"].partition(".")[0] for words in DOCUMENT["steps"].values()}

    assert {served.name for served in demo.AGENTS} == called
    assert {served.module for served in demo.AGENTS} == {f"data_processing.{name}:agent" for name in called}


def test_the_packaged_table_is_there_without_a_network() -> None:
    assert Path(demo.packaged_table()).read_bytes().startswith(b"[")
