"""Events that are published: who waits for them goes on, and workflows that begin on them are started."""

from parade_scheduler.document import Document
from parade_scheduler.engine import Caller


class Events:
    """Publishes events."""

    async def publish(self, caller: Caller, type: str, value: Document, event_id: str) -> str:
        """Stores an event, which is delivered from then on, and returns its id; one that is published already changes nothing.

        Args:
            caller: Who publishes it, and in which namespace.
            type: What kind of event it is.
            value: What it says, any JSON value.
            event_id: Names it; a new id where empty.

        Raises:
            ParadeError: INVALID_ARGUMENTS, naming every field at fault; NO_CAPACITY, where the namespace has too many.
        """
        raise NotImplementedError
