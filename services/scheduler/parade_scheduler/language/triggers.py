"""What starts the runs of a workflow: people and programs, times, events."""

from dataclasses import dataclass

from parade_scheduler.expression import Expression
from parade_scheduler.language import cron, places
from parade_scheduler.language.definition import Event, Schedule, Trigger
from parade_scheduler.language.faults import Faults
from parade_scheduler.language.inputs import Inputs, validator, violations
from parade_scheduler.language.template import Template, expressions
from parade_scheduler.language.tree import Node
from parade_scheduler.language.values import Values
from parade_scheduler.language.vocabulary import ON, SCHEDULE, TRIGGER
from parade_scheduler.language.vocabulary.names import CATCH_UP, EVENT_TYPE, MAX_LISTED
from parade_scheduler.language.words import Words


@dataclass(frozen=True, slots=True)
class Starts:
    """What starts runs."""

    manual: bool = True
    schedules: tuple[Schedule, ...] = ()
    triggers: tuple[Trigger, ...] = ()


@dataclass(frozen=True, slots=True)
class Triggers:
    """Reads `on`."""

    faults: Faults
    words: Words
    values: Values
    inputs: Inputs
    """The inputs of the workflow; what starts its runs must give those that are required."""

    def read(self, node: Node | None) -> Starts:
        """Returns what starts runs."""
        if node is None or node.kind == "empty":
            return Starts()
        found = self.words.known(node, "on", node.line, ON)
        return Starts(
            manual=self.words.boolean(found.get("manual"), "on.manual", default=True),
            schedules=tuple(self._schedule(item, path) for path, item in self._items(found.get("schedule"), "on.schedule")),
            triggers=tuple(self._trigger(item, path) for path, item in self._items(found.get("event"), "on.event")),
        )

    def _items(self, node: Node | None, path: str) -> list[tuple[str, Node]]:
        if node is None:
            return []
        if node.items is None:
            return [(path, node)]
        if not 1 <= len(node.items) <= MAX_LISTED:
            self.faults.add(path, node.line, f"1 to {MAX_LISTED} of them stand here, not {len(node.items):,}")
        return [(f"{path}[{index}]", item) for index, item in enumerate(node.items[:MAX_LISTED])]

    def _schedule(self, node: Node, path: str) -> Schedule:
        found = self.words.known(node, path, node.line, SCHEDULE)
        text = self.words.text(found.get("cron"), f"{path}.cron")
        zone = self.words.text(found.get("time-zone"), f"{path}.time-zone") or "UTC"
        if "cron" in found and (fault := cron.fault(text)):
            self.faults.add(
                f"{path}.cron", found["cron"].line, fault, "write minute, hour, day of the month, month, day of the week: `0 6 * * 1-5`"
            )
        if "time-zone" in found and not cron.is_zone(zone):
            hint = self.faults.hint(zone, cron.zones()) or "write an IANA name such as `Europe/Berlin`"
            self.faults.add(f"{path}.time-zone", found["time-zone"].line, f"there is no time zone `{zone[:60]}`", hint)
        return Schedule(
            cron=text,
            time_zone=zone,
            catch_up=self.words.choice(found.get("catch-up"), f"{path}.catch-up", CATCH_UP, "last"),
            inputs=self._given(found.get("inputs"), f"{path}.inputs", node.line, places.NOWHERE),
        )

    def _trigger(self, node: Node, path: str) -> Trigger:
        found = self.words.known(node, path, node.line, TRIGGER)
        event = Event(
            self.words.name(found.get("type"), f"{path}.type", EVENT_TYPE),
            self.values.condition(found.get("if"), f"{path}.if", "", places.EVENT),
        )
        return Trigger(event, self._given(found.get("with"), f"{path}.with", node.line, places.EVENT))

    def _given(self, node: Node | None, path: str, line: int, names: frozenset[str]) -> Template:
        """Reads the inputs of runs that start by themselves, and notes those that every such run would be refused for."""
        template = Template({}) if node is None else self.values.template(node, path, "", names)
        if isinstance(template.value, Expression):
            return template
        if node is not None and node.entries is None:
            hint = "write that, or one `${{ expression }}` that gives it"
            self.faults.add(path, node.line, f"the inputs by name stand here, not {node.kind}", hint)
            return Template({})
        known = {item.name: item for item in self.inputs.inputs}
        entries = node.entries if node is not None and node.entries is not None else {}
        for name, (key, value) in entries.items():
            if name not in known:
                hint = self.faults.hint(name, known) or (f"there are {', '.join(sorted(known)[:20])}" if known else "there are none")
                self.faults.add(f"{path}.{name[:60]}", key.line, f"there is no input `{name[:60]}`", hint)
            elif not any(expressions(template.value[name])):
                for violation in violations(validator(known[name].schema), template.value[name], f"{path}.{name}"):
                    self.faults.add(violation.field, value.line, violation.description, f"the schema of `{name}` says so")
        for item in self.inputs.inputs:
            if item.required and item.name not in entries:
                self.faults.add(
                    path, line, f"the input `{item.name}` is required", f"give it in `{path.rpartition('.')[2]}`, or give it a default"
                )
        return template
