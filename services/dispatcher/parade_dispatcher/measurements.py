"""What the dispatcher measures: how many calls went to which function at which instance, how long they took and how they ended."""

from opentelemetry.metrics import Meter

from parade_dispatcher.model import Instance, Request


class Measurements:
    """The dispatcher's metrics."""

    def __init__(self, meter: Meter) -> None:
        """Makes the instruments."""
        self._calls = meter.create_counter("parade.calls", description="Calls given to an instance, by how they ended")
        self._duration = meter.create_histogram("parade.call.duration", unit="ms", description="How long an instance had a call")

    def attempt(self, request: Request, instance: Instance, outcome: str, seconds: float) -> None:
        """Takes down that an instance had a call.

        Args:
            request: What was asked for.
            instance: Which instance had it.
            outcome: `OK`, or the reason why it failed.
            seconds: How long it had it.
        """
        attributes = {
            "parade.namespace": request.namespace,
            "parade.function": request.full_name,
            "parade.instance": instance.id,
            "parade.outcome": outcome,
        }
        self._calls.add(1, attributes)
        self._duration.record(seconds * 1000, attributes)
