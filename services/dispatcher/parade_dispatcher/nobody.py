"""Stands in for a caller that went away."""

from parade.wire.errors import ParadeError
from parade_dispatcher.model import Answer, Content, Progress, Timing
from parade_dispatcher.ports import Reply


class _Nobody:
    def answered(self, answer: Answer) -> None:
        pass

    def failed(self, error: ParadeError, timing: Timing) -> None:
        pass

    def assigned(self, call_id: str, instance_id: str) -> None:
        pass

    def progressed(self, progress: Progress) -> None:
        pass

    def item(self, value: Content) -> None:
        pass

    def cancelling(self, state: str) -> None:
        pass


NOBODY: Reply = _Nobody()
"""Hears everything and does nothing."""
