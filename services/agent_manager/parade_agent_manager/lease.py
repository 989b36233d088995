"""Leases: until when an instance counts as alive without another heartbeat. Kept in memory: a restart gives every instance a new one."""


class Leases:
    """The leases of all instances that count as alive, in seconds of a clock that never runs backwards."""

    def __init__(self, duration: float) -> None:
        """Takes the seconds that a lease lasts."""
        self.duration = duration
        self._ends: dict[str, float] = {}

    def renew(self, instance: str, now: float) -> None:
        """Gives an instance a full lease from now."""
        self._ends[instance] = now + self.duration

    def end(self, instance: str) -> None:
        """Takes the lease away, where there is one."""
        self._ends.pop(instance, None)

    def ended(self, now: float) -> list[str]:
        """Returns the instances whose lease has ended. They have none from here on."""
        ended = [instance for instance, end in self._ends.items() if end <= now]
        for instance in ended:
            del self._ends[instance]
        return ended

    def extend(self, seconds: float) -> None:
        """Makes every lease longer, for a time in which no heartbeat could be taken."""
        self._ends = {instance: end + seconds for instance, end in self._ends.items()}
