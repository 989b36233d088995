"""Workflows written in Python: a builder that makes the same document as YAML does.

```python
flow = parade.Workflow("sales-report", inputs={"source": {"type": "string"}})
rows = flow.step("collect", "collector.collect", {"source": flow.inputs.source})
report = flow.step("describe", "analyst.describe", {"rows": rows.output})
flow.wait_for_approval("checked", message=f"Send {report.output.title}?", timeout="8h")
flow.output("summary", report.output)
await mesh.put_workflow(flow)
```
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Unpack

import yaml

from parade.workflow_expression import ENV, INDEX, INPUTS, ITEM, Expression, asked, document, mentioned
from parade.workflow_words import Concurrency, Conditions, Retry, Schedule, Trigger

__all__ = ["INDEX", "ITEM", "Expression", "Retry", "Step", "Workflow"]


@dataclass(frozen=True, slots=True)
class Step:
    """A step that has been added to a workflow."""

    id: str

    @property
    def output(self) -> Expression:
        """The step's output; a list for a for-each, an object with `step` and `output` for a race."""
        return Expression(f"steps.{self.id}.output")


class Workflow:
    """A workflow in the making.

    Every method that adds a step takes its id (a lower-case letter, then lower-case letters, digits or "_") and, but for races, what
    `Conditions` lists by name. A step needs the steps of whose outputs its expressions speak, and those in `needs`.
    """

    def __init__(
        self,
        name: str,
        *,
        description: str = "",
        inputs: Mapping[str, Mapping[str, Any]] | None = None,
        timeout: str = "",
        on: Schedule | Trigger | Sequence[Schedule | Trigger] = (),
        manual: bool = True,
        env: Mapping[str, Any] | None = None,
        concurrency: Concurrency | Expression | str = "",
        priority: int = 0,
    ) -> None:
        """Starts a workflow.

        Args:
            name: Its name: a lower-case letter, then lower-case letters, digits or "-".
            description: What it does.
            inputs: Its inputs by name, each as in the document: `type`, `default`, `required`, `description`.
            timeout: The longest that a run may take, for example `10m`.
            on: What starts runs besides people and programs: times and events.
            manual: Whether these may.
            env: Values that steps see as `flow.env.<name>`; they may hold `parade.INPUTS` and `parade.SECRETS`.
            concurrency: The group of runs of which so many go on at once, or its name for one at a time.
            priority: From -100 to 100; of the runs that wait for a free place the highest goes first.
        """
        self.name = name
        self._words = {
            "description": description,
            "on": _on([on] if isinstance(on, Schedule | Trigger) else on, manual=manual),
            "inputs": document(inputs or {}),
            "env": document(env or {}),
            "concurrency": concurrency.to_document() if isinstance(concurrency, Concurrency) else str(concurrency),
            "priority": priority or "",
            "timeout": timeout,
        }
        self._steps: dict[str, dict[str, Any]] = {}
        self._outputs: dict[str, Any] = {}

    @property
    def inputs(self) -> Expression:
        """The run's inputs."""
        return INPUTS

    @property
    def env(self) -> Expression:
        """The values of its `env`."""
        return ENV

    def step(
        self,
        id: str,  # the language's own word
        function: str,
        arguments: Mapping[str, Any] | Expression | None = None,
        *,
        retry: Retry | None = None,
        **conditions: Unpack[Conditions],
    ) -> Step:
        """Adds a step that calls a function.

        Args:
            id: Its id.
            function: The function, `agent.function`.
            arguments: Its arguments; expressions may stand anywhere in them.
            retry: How often a failed task is tried again.
            conditions: When it is done and how often.

        Raises:
            ValueError: There is a step of that id.
        """
        return self._add(id, {"call": function, "with": arguments or {}, "retry": retry and retry.to_document()}, conditions)

    def run(
        self,
        id: str,
        workflow: str,
        inputs: Mapping[str, Any] | Expression | None = None,
        *,
        retry: Retry | None = None,
        **conditions: Unpack[Conditions],
    ) -> Step:
        """Adds a step that runs another workflow to its end; its output are the outputs of that run.

        Args:
            id: Its id.
            workflow: The workflow's name.
            inputs: The inputs of the run.
            retry: How often it is run again after it failed.
            conditions: When it is done and how often.

        Raises:
            ValueError: There is a step of that id.
        """
        return self._add(id, {"run": workflow, "with": inputs or {}, "retry": retry and retry.to_document()}, conditions)

    def wait_for_approval(
        self, id: str, *, approvers: Sequence[str] = (), message: Expression | str = "", **conditions: Unpack[Conditions]
    ) -> Step:
        """Adds a step that waits until somebody approves, and fails where they reject.

        Args:
            id: Its id.
            approvers: Who may: SPIFFE ids, in which `*` stands for any text without `/`; whoever may call where empty.
            message: What they are told.
            conditions: When it waits, and how long.

        Raises:
            ValueError: There is a step of that id.
        """
        return self._wait(id, "approval", {"approvers": list(approvers), "message": str(message)}, conditions)

    def wait_for_signal(self, id: str, name: str, *, schema: Mapping[str, Any] | None = None, **conditions: Unpack[Conditions]) -> Step:
        """Adds a step that waits until the run is sent a signal; its output is the signal's value.

        Args:
            id: Its id.
            name: The signal's name.
            schema: A JSON Schema for its values; one that does not fit is refused to its sender.
            conditions: When it waits, and how long.

        Raises:
            ValueError: There is a step of that id.
        """
        return self._wait(id, "signal", {"name": name, "schema": schema} if schema else name, conditions)

    def wait_for_event(self, id: str, type: str, *, that: Expression | str | None = None, **conditions: Unpack[Conditions]) -> Step:
        """Adds a step that waits for an event; its output is what the event says.

        Args:
            id: Its id.
            type: The event's type.
            that: What must hold of it: an expression (CEL) over `event`.
            conditions: When it waits, and how long.

        Raises:
            ValueError: There is a step of that id.
        """
        return self._wait(id, "event", {"type": type, "if": that} if that is not None else type, conditions)

    def sleep(
        self,
        id: str,
        duration: Expression | str | None = None,
        *,
        until: datetime | Expression | str | None = None,
        **conditions: Unpack[Conditions],
    ) -> Step:
        """Adds a step that waits for a time.

        Args:
            id: Its id.
            duration: How long, for example `5m`.
            until: Until when, instead: a time with its zone.
            conditions: When it waits.

        Raises:
            ValueError: There is a step of that id, or not exactly one of `duration` and `until` is given.
        """
        if (duration is None) is (until is None):
            raise ValueError("a step sleeps either for a duration or until a time")
        return self._wait(id, "timer", duration if until is None else {"until": until}, conditions)

    def race(self, id: str, steps: Sequence[Step], *, description: str = "") -> Step:
        """Adds a step that ends with the first of some steps that succeeds; the others are cancelled.

        Args:
            id: Its id.
            steps: The steps that race, at least two.
            description: What it does.

        Raises:
            ValueError: There is a step of that id.
        """
        return self._store(id, {"race": [step.id for step in steps], "description": description})

    def output(self, name: str, value: Any) -> None:
        """Adds an output of the run: a value with expressions anywhere in it."""
        self._outputs[name] = document(value)

    def to_document(self) -> dict[str, Any]:
        """Returns the document as plain values."""
        words = {"name": self.name, **self._words, "steps": self._steps, "outputs": self._outputs}
        return {word: value for word, value in words.items() if value not in ("", {})}

    def to_yaml(self) -> str:
        """Returns the document as YAML."""
        return yaml.safe_dump(self.to_document(), sort_keys=False, allow_unicode=True)

    def _wait(self, id: str, what: str, value: Any, conditions: Conditions) -> Step:
        if isinstance(value, dict):
            value = {word: content for word, content in value.items() if content not in ("", [], None)}
        return self._add(id, {"wait": {what: value}}, conditions)

    def _add(self, id: str, deed: Mapping[str, Any], conditions: Conditions) -> Step:
        """Adds a step that does something, under its conditions."""
        loop, compensation = conditions.get("loop"), conditions.get("compensate")
        words = {
            **{word: document(value) for word, value in deed.items()},
            "if": document(conditions.get("condition")),
            "when": conditions.get("when"),
            "for-each": document(conditions.get("for_each")),
            "max-parallel": conditions.get("max_parallel"),
            "loop": loop and loop.to_document(),
            "timeout": conditions.get("timeout"),
        }
        spoken_of = mentioned(words) | mentioned([asked(words["if"]), asked(words["loop"] and words["loop"]["until"])])
        needed = {step.id for step in conditions.get("needs", ())} | spoken_of
        words["needs"] = [known for known in self._steps if known in needed]
        words["compensate"] = compensation and compensation.to_document()
        return self._store(id, {"description": conditions.get("description"), **words})

    def _store(self, id: str, words: Mapping[str, Any]) -> Step:
        if id in self._steps:
            raise ValueError(f"there is a step {id!r} already")
        # An empty list of items is one all the same.
        self._steps[id] = {
            word: value for word, value in words.items() if value not in (None, "", [], {}) or (word == "for-each" and value == [])
        }
        return Step(id)


def _on(starts: Sequence[Schedule | Trigger], *, manual: bool) -> dict[str, Any]:
    """Returns `on` as the document has it."""
    schedules = [start.to_document() for start in starts if isinstance(start, Schedule)]
    triggers = [start.to_document() for start in starts if isinstance(start, Trigger)]
    words: dict[str, Any] = {} if manual else {"manual": False}
    for word, found in (("schedule", schedules), ("event", triggers)):
        if found:
            words[word] = found[0] if len(found) == 1 else found
    return words
