"""A simulated run that is written to a real store as the journal would write it."""

from dataclasses import replace
from typing import Any

from parade_scheduler.decider import Decisions, Execution
from parade_scheduler.model import EventType
from parade_scheduler.storage.store import Change, Store
from tests.unit.scheduler.simulation import Simulation


class StoredSimulation(Simulation):
    """Remembers what is to be written."""

    def __init__(self, flow: dict[str, Any]) -> None:
        self.changes: list[Change] = []
        self._written = 0
        super().__init__(flow)

    def tell(self, occurrence: Any) -> Decisions:
        before = self.run_row
        decisions = super().tell(occurrence)
        self._written += 1
        row_changed = replace(self.run_row, last_sequence=0) != replace(before, last_sequence=0)
        self.changes.append(
            Change(
                self.run_row,
                self._written,
                is_new=self._written == 1,
                row_changed=row_changed,
                steps={step.id: step for step in decisions.steps},
                tasks={(task.step, task.index): task for task in decisions.tasks},
                events=list(decisions.events),
                begun={event.step for event in decisions.events if event.type is EventType.STEP_STARTED},
            )
        )
        return decisions

    async def write(self, store: Store) -> None:
        """Writes what has happened since the last time, each as its own commit."""
        for change in self.changes:
            await store.write([change], None)
        self.changes.clear()

    async def reread(self, store: Store) -> Execution:
        """Returns the run as it stands in the store."""
        [stored] = await store.load([self.run_row.id])
        assert stored.entries == self._written
        return Execution(self.definition, stored.run, stored.steps, stored.tasks)


def facts(execution: Execution) -> dict[str, Any]:
    """Returns all that an execution consists of, to compare."""
    return {name: value for name, value in vars(execution).items() if name not in ("definition", "bindings")}
