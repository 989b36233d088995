"""Whether what the expressions of a definition refer to is there when they are computed."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from parade_scheduler.expression import Path, Reference
from parade_scheduler.language import places
from parade_scheduler.language.faults import Faults
from parade_scheduler.language.values import Use

STEP_FIELDS = frozenset({"output", "state"})
"""What an expression can see of a step."""

_BY_NAME = {"env": "env.<name>", "secrets": "secrets.<name>"}
"""The variables of which a single value is named, so that it is known beforehand which are needed."""


@dataclass(frozen=True, slots=True)
class References:
    """Checks references."""

    inputs: Collection[str]
    """The inputs' names."""
    env: Collection[str]
    """The names of the environment."""
    secret_env: Collection[str]
    """Those that hold a secret."""
    steps: Collection[str]
    """The steps' ids."""
    ancestors: Mapping[str, frozenset[str]]
    """For each step, the steps that have ended before it begins."""
    unreliable: Collection[str]
    """Steps whose needs are at fault themselves; what they may refer to is not known."""
    faults: Faults

    def check(self, uses: Iterable[Use]) -> None:
        """Notes every reference to what is not there."""
        for use in uses:
            told: set[tuple[str, str]] = set()
            for reference in use.expression.references:
                fault = self._fault(use, reference)
                if fault is not None and fault not in told:
                    told.add(fault)
                    self.faults.add(use.field, use.line, *fault)

    def _fault(self, use: Use, reference: Reference) -> tuple[str, str] | None:
        """Returns what is wrong with a reference, and what to write instead."""
        root, path = reference.root, reference.path
        if root in places.WHERE and root not in use.names:
            return f"`{root}` {places.WHERE[root]}", ""
        second = str(path[1]) if len(path) > 1 else ""
        if root in _BY_NAME and not second:
            return f"`{root}` alone has no value", f"write `{_BY_NAME[root]}`"
        if root == "inputs" and second and second not in self.inputs:
            return f"there is no input `{second}`", self._hint(second, self.inputs)
        if root == "env":
            return self._env_fault(use, second)
        if root == "run" and second and second != "id":
            return f"there is no `run.{second}`", "there is `run.id`"
        if root == "steps":
            return self._step_fault(use, path)
        return None

    def _env_fault(self, use: Use, name: str) -> tuple[str, str] | None:
        if name not in self.env:
            return f"there is no `{name}` in `env`", self._hint(name, self.env)
        if name in self.secret_env and "secrets" not in use.names:
            return f"`env.{name}` holds a secret, which would be kept on record here", "use it in the `with` of a `call`"
        return None

    def _step_fault(self, use: Use, path: Path) -> tuple[str, str] | None:
        if len(path) < 2:
            return "`steps` alone has no value", "write `steps.<id>.output`"
        step = str(path[1])
        if step not in self.steps:
            return f"there is no step `{step}`", self._hint(step, self.steps)
        if step == use.step:
            return f"the step `{step}` refers to itself", "in a loop, `output` is what its turn gave"
        if use.step and use.step not in self.unreliable and step not in self.ancestors[use.step]:
            return f"`steps.{step}` may not have ended yet", f"add `{step}` to the `needs` of `{use.step}`"
        if len(path) < 3:
            return f"`steps.{step}` alone has no value", f"write `steps.{step}.output`"
        if path[2] not in STEP_FIELDS:
            return f"a step has no `{path[2]}`", f"it has `output` and `state`, so this may be `steps.{step}.output.{path[2]}`"
        return None

    def _hint(self, word: str, known: Collection[str]) -> str:
        return self.faults.hint(word, known) or (f"there are {', '.join(sorted(known)[:20])}" if known else "there are none")
