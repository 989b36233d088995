"""The inputs of a workflow: what a run must be given, what it may leave out, and which values fit."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from parade.wire.errors import Violation, invalid
from parade_scheduler.document import type_name
from parade_scheduler.language import schema_bounds
from parade_scheduler.refusal import refused

if TYPE_CHECKING:
    import jsonschema_rs

SCHEMA_HINT: Final = "write a JSON Schema (https://json-schema.org, 2020-12)"
"""What helps where a schema is none."""
_MAX_VIOLATIONS = 100


@dataclass(frozen=True, slots=True)
class Input:
    """One input."""

    name: str
    schema: Mapping[str, Any]
    """JSON Schema 2020-12; an empty one lets anything through."""
    required: bool
    default: Any = None
    description: str = ""


@dataclass(frozen=True)
class Inputs:
    """All inputs of a workflow."""

    inputs: tuple[Input, ...] = ()

    @cached_property
    def _validators(self) -> Mapping[str, "jsonschema_rs.Validator"]:
        return {item.name: validator(item.schema) for item in self.inputs}

    def complete(self, given: Any) -> dict[str, Any]:
        """Checks what a run was given and fills in the rest: defaults, and null for optional inputs that have none.

        Raises:
            ParadeError: INVALID_ARGUMENTS, naming every input that is missing, unknown or outside its schema.
        """
        if not isinstance(given, dict):
            raise invalid([Violation("inputs", f"the inputs are an object, this is {type_name(given)}")])
        known = {item.name for item in self.inputs}
        expected = ", ".join(sorted(known)) or "none"
        faults = [Violation(f"inputs.{name}", f"there is no such input; there are: {expected}") for name in given if name not in known]
        result: dict[str, Any] = {}
        for item in self.inputs:
            if item.name not in given:
                if item.required:
                    faults.append(Violation(f"inputs.{item.name}", "this input is required"))
                result[item.name] = item.default
                continue
            result[item.name] = given[item.name]
            faults.extend(violations(self._validators[item.name], given[item.name], f"inputs.{item.name}"))
        if faults:
            raise refused(faults, "the inputs do not fit the workflow")
        return result


def validator(schema: Mapping[str, Any]) -> "jsonschema_rs.Validator":
    """Compiles a schema. It never reads a file or the network, and its patterns take linear time.

    Raises:
        ParadeError: INVALID_ARGUMENTS, where it is no valid JSON Schema, refers to one elsewhere, or could take too long.
    """
    # Three megabytes, and a mesh without workflows needs none of them.
    import jsonschema_rs

    schema_bounds.check(schema)
    try:
        return jsonschema_rs.Draft202012Validator(dict(schema), offline=True, pattern_options=jsonschema_rs.RegexOptions())
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as error:
        text = str(getattr(error, "message", error)).split("\n", 1)[0]
        raise invalid([Violation("schema", text)], f"this is no valid JSON Schema: {text}") from error


def violations(check: "jsonschema_rs.Validator", value: Any, path: str) -> list[Violation]:
    """Returns where a value is outside its schema."""
    found: list[Violation] = []
    for error in check.iter_errors(value):
        place = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in error.instance_path)
        found.append(Violation(path + place, error.message))
        if len(found) == _MAX_VIOLATIONS:
            break
    return found
