"""What a step waits for."""

from dataclasses import dataclass
from datetime import UTC, datetime

from parade.wire.errors import ParadeError
from parade_scheduler.expression import Expression
from parade_scheduler.language import places
from parade_scheduler.language.definition import Approval, Event, Signal, Timer, Wait
from parade_scheduler.language.faults import Faults
from parade_scheduler.language.inputs import SCHEMA_HINT, validator
from parade_scheduler.language.template import Template, Text
from parade_scheduler.language.tree import Node
from parade_scheduler.language.values import Values
from parade_scheduler.language.vocabulary import APPROVAL, EVENT, SIGNAL, TIMER, WAIT
from parade_scheduler.language.vocabulary.names import APPROVER, EVENT_TYPE, SIGNAL_NAME
from parade_scheduler.language.words import Words
from parade_scheduler.model import Kind


@dataclass(frozen=True, slots=True)
class Waits:
    """Reads what a step waits for."""

    faults: Faults
    words: Words
    values: Values

    def read(self, node: Node, path: str, step: str, names: frozenset[str]) -> tuple[Kind, Wait]:
        """Returns what is waited for.

        Args:
            node: The value of `wait`.
            path: Where it stands.
            step: The step.
            names: The names that its expressions may use.
        """
        found = self.words.known(node, path, node.line, WAIT)
        if "signal" in found:
            return Kind.SIGNAL, self._signal(found["signal"], f"{path}.signal")
        if "timer" in found:
            return Kind.TIMER, self._timer(found["timer"], f"{path}.timer", step, names)
        if "event" in found:
            return Kind.EVENT, self._event(found["event"], f"{path}.event", step, names)
        return Kind.APPROVAL, self._approval(found.get("approval"), f"{path}.approval", step, names)

    def _approval(self, node: Node | None, path: str, step: str, names: frozenset[str]) -> Approval:
        if node is None or node.kind == "empty":
            return Approval()
        found = self.words.known(node, path, node.line, APPROVAL)
        message = found.get("message")
        self.words.text(message, f"{path}.message")
        return Approval(
            approvers=tuple(self.words.names(found.get("approvers"), f"{path}.approvers", APPROVER)),
            message=Template("") if message is None else self.values.template(message, f"{path}.message", step, names),
        )

    def _signal(self, node: Node, path: str) -> Signal:
        if node.entries is None:
            return Signal(self.words.name(node, path, SIGNAL_NAME))
        found = self.words.known(node, path, node.line, SIGNAL)
        name = self.words.name(found.get("name"), f"{path}.name", SIGNAL_NAME)
        schema = found.get("schema")
        if schema is None:
            return Signal(name)
        if schema.entries is None:
            self.faults.add(f"{path}.schema", schema.line, f"a JSON Schema stands here, not {schema.kind}")
            return Signal(name)
        try:
            validator(schema.plain())
        except ParadeError as error:
            self.faults.add(f"{path}.schema", schema.line, error.message, SCHEMA_HINT)
            return Signal(name)
        return Signal(name, schema.plain())

    def _timer(self, node: Node, path: str, step: str, names: frozenset[str]) -> Timer:
        if node.entries is None:
            return Timer(duration=self._length(node, path, step, names))
        found = self.words.known(node, path, node.line, TIMER)
        if "until" in found:
            return Timer(until=self._time(found["until"], f"{path}.until", step, names))
        return Timer(duration=self._length(found["for"], f"{path}.for", step, names) if "for" in found else Template("1s"))

    def _length(self, node: Node, path: str, step: str, names: frozenset[str]) -> Template:
        template = self.values.template(node, path, step, names)
        if not isinstance(template.value, Expression | Text):
            self.words.duration(node, path)
        return template

    def _time(self, node: Node, path: str, step: str, names: frozenset[str]) -> Template:
        template = self.values.template(node, path, step, names)
        if not isinstance(template.value, Expression | Text) and not _is_time(template.value):
            shown = f"`{node.scalar[:60]}`" if isinstance(node.scalar, str) else node.kind
            self.faults.add(path, node.line, f"{shown} is no time", "write it with its offset, as 2026-12-24T18:00:00Z")
        return template

    def _event(self, node: Node, path: str, step: str, names: frozenset[str]) -> Event:
        if node.entries is None:
            return Event(self.words.name(node, path, EVENT_TYPE))
        found = self.words.known(node, path, node.line, EVENT)
        return Event(
            self.words.name(found.get("type"), f"{path}.type", EVENT_TYPE),
            self.values.condition(found.get("if"), f"{path}.if", step, names | places.EVENT),
        )


def _is_time(value: object) -> bool:
    """Tells whether a value is a time with its offset, and one that there is in UTC too."""
    try:
        time = datetime.fromisoformat(value) if isinstance(value, str) else None
        return time is not None and time.tzinfo is not None and time.astimezone(UTC).year > 0
    except (ValueError, OverflowError):
        return False
