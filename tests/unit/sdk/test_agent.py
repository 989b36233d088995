"""An agent as its author writes it."""

from typing import Any

import pytest

import parade


def test_a_function_stays_what_it_was() -> None:
    agent = parade.Agent("analyst")

    @agent.function(effect="pure")
    def double(number: int) -> int:
        return 2 * number

    assert double(2) == 4
    assert agent.functions["double"].effect == "pure"


def test_the_decorator_needs_no_brackets_and_takes_a_name() -> None:
    agent = parade.Agent("analyst")

    @agent.function
    def plain() -> None: ...

    @agent.function(name="by-name", description="Named.")
    def other() -> None: ...

    assert list(agent.functions) == ["plain", "by-name"]
    assert agent.functions["by-name"].description == "Named."


def test_a_name_is_taken_once() -> None:
    agent = parade.Agent("analyst")

    def nothing() -> None: ...

    agent.function(nothing)
    with pytest.raises(ValueError, match="has a function 'nothing' already"):
        agent.function(nothing)


@pytest.mark.parametrize(
    "given",
    [
        {"name": "Analyst"},
        {"name": "a" * 41},
        {"name": "a", "max_concurrency": 0},
        {"name": "a", "max_concurrency": 10_001},
        {"name": "a", "labels": {str(number): "" for number in range(33)}},
    ],
    ids=["upper case", "too long", "no concurrency", "too much concurrency", "too many labels"],
)
def test_what_the_mesh_would_refuse_is_refused_at_once(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"agent name|max_concurrency|labels"):
        parade.Agent(**given)


def test_an_agent_without_functions_cannot_serve() -> None:
    with pytest.raises(ValueError, match="has no functions"):
        parade.Agent("analyst").serve()


def shadowed() -> int:
    return 1


original = shadowed


def shadowed() -> int:  # type: ignore[no-redef]  # as a decorator above that of the agent leaves it
    return 2


def test_a_function_that_its_process_would_not_find_is_not_served() -> None:
    agent = parade.Agent("clerk")
    agent.function(process=True)(original)

    with pytest.raises(ValueError, match="above all other decorators"):
        agent._offer()
