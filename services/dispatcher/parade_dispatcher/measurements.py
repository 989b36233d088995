"""What the dispatcher measures: how many calls went to which function at which instance, where their time went and how they ended."""

from parade.wire.telemetry import Telemetry
from parade_dispatcher.model import Instance, Request


class CallMeasurements:
    """The dispatcher's metrics. Recording costs next to nothing: see `parade.wire.tally`."""

    def __init__(self, telemetry: Telemetry) -> None:
        """Takes where they go."""
        self._tally = telemetry.call_tally()

    def attempt(self, request: Request, instance: Instance, outcome: str, queued: float, transport: float, executing: float) -> None:
        """Takes down that an instance had a call.

        Args:
            request: What was asked for.
            instance: Which instance had it.
            outcome: `OK`, or the reason why it failed.
            queued: Seconds from the call's arrival until the function began.
            transport: Seconds on its way, there and back.
            executing: Seconds in the function.
        """
        key = (request.namespace, f"{request.agent}.{request.function}", instance.id)
        self._tally.record_call(key, queued, transport, executing, outcome)
