"""Makes the records of what a request changes, where what is changed is stored: who asks and what for stands in the request's context."""

from collections.abc import Mapping
from typing import Any

from parade.wire.audit import Kind
from parade_chassis.audit import Record
from parade_chassis.clock import Clock
from parade_chassis.context import current_or_none


class Recorder:
    """Makes them."""

    def __init__(self, clock: Clock, own: str) -> None:
        """Takes the time, and the service's own SPIFFE id for what it does without a request."""
        self._clock = clock
        self._own = own

    def change(self, namespace: str, resource: str, facts: Mapping[str, Any] | None = None, *, subject: str = "") -> Record:
        """Returns the record of a change that the request being served makes.

        Args:
            namespace: Where the resource is.
            resource: What is changed, for example `agents/cleaner`.
            facts: What else is to be known; never a secret.
            subject: Who does it, where they had no certificate before.
        """
        request = current_or_none()
        action, who = ("", self._own) if request is None else (request.method, request.principal)
        return Record(Kind.CHANGE, action, subject or who, namespace, resource, self._clock.now(), facts or {})
