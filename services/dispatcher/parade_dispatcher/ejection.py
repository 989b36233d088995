"""When an instance that fails is left alone, for how long, and how it comes back. An error that a function raises for good is an answer.

Source of the method: the outlier detection of Envoy, https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/outlier.
"""

from collections.abc import Callable, Mapping
from functools import partial

from parade_dispatcher.member import Member, Standing
from parade_dispatcher.ports import Later, Now

FIRST_PAUSE = 0.5
"""Seconds for which an instance that has failed once gets no calls."""
LONGEST_PAUSE = 30.0
FORGOTTEN_AFTER = 60.0
"""Seconds of good standing after which earlier ejections make the next pause no longer."""
FAILURES_IN_A_ROW = 5
"""Failures that may pass (errors worth another try, or silence until the deadline) after which an instance is ejected."""
REFUSAL_PAUSE = 0.05
"""Seconds after which an instance that has said it is full is asked again, if none of its calls ends before."""


class Ejection:
    """Ejects instances of one agent, at most half of them, and tries them again with one call after growing pauses."""

    def __init__(
        self,
        members: Mapping[str, Member],
        now: Now,
        later: Later,
        opened: Callable[[Member], None],
        closed: Callable[[Member], None],
    ) -> None:
        """Takes its parts.

        Args:
            members: The callable instances of the agent.
            now: The time.
            later: What calls back after a pause.
            opened: Is told of an instance that has room again.
            closed: Is told of an instance that is ejected.
        """
        self._members = members
        self._now = now
        self._later = later
        self._opened = opened
        self._closed = closed
        self._until: dict[Member, float] = {}

    def lost(self, member: Member) -> None:
        """Takes in that an instance went away from a call."""
        if not member.callable or member.standing is Standing.EJECTED:
            return  # calls that were under way fail together, for one reason
        if self._may_eject(member, at_least=1):
            self._eject(member)
        else:
            member.suspect = True
            member.update()

    def failed(self, member: Member, *, silent: bool) -> None:
        """Takes in that an instance failed in a way that another may not.

        Args:
            member: The instance.
            silent: Whether it did not answer at all.
        """
        member.row += 1
        member.troubled = True
        if member.standing is Standing.ON_TRIAL:
            if silent or member.row > FAILURES_IN_A_ROW:
                self._eject(member)
            else:
                self.answered(member, well=False)  # it was ejected for a loss, and is there again
        elif (
            member.row >= FAILURES_IN_A_ROW
            and member.standing is Standing.TRUSTED
            and any(other.row == 0 for other in self._members.values())  # where all fail, none of them is to blame
            and self._may_eject(member, at_least=0)
        ):
            self._eject(member)

    def answered(self, member: Member, *, well: bool) -> None:
        """Takes in that a troubled instance has answered.

        Args:
            member: The instance.
            well: Whether with a result.
        """
        if well:
            member.row = 0
        if member.standing is not Standing.TRUSTED and (member.row == 0 or member.standing is Standing.ON_TRIAL):
            self._until.pop(member, None)
            member.standing = Standing.TRUSTED
            member.recovered = self._now()
            member.row = 0
        member.suspect = False
        member.update()
        self._opened(member)

    def refused(self, member: Member) -> None:
        """Takes in that an instance is full for others' sake: it has no more room than for what it has."""
        member.learned = member.outstanding
        member.update()
        if not member.grows:
            member.grows = True
            self._later(REFUSAL_PAUSE, partial(self._grow, member))

    def forget(self, member: Member) -> None:
        """Forgets what an instance did, since it is no longer callable."""
        self._until.pop(member, None)
        member.standing = Standing.TRUSTED
        member.suspect = False
        member.row = 0
        member.learned = None

    def pause_left(self, member: Member) -> float:
        """Returns the seconds until an instance is on trial; 0 where it is not ejected."""
        return max(0.0, self._until.get(member, 0.0) - self._now()) if member.standing is Standing.EJECTED else 0.0

    def _may_eject(self, member: Member, at_least: int) -> bool:
        if member.standing is Standing.ON_TRIAL:
            return True
        return sum(1 for other in self._until if other.callable) < max(at_least, len(self._members) // 2)

    def _eject(self, member: Member) -> None:
        now = self._now()
        if member.standing is Standing.TRUSTED and now - member.recovered > FORGOTTEN_AFTER:
            member.ejections = 0
        pause = min(FIRST_PAUSE * 2 ** min(member.ejections, 16), LONGEST_PAUSE)
        member.ejections += 1
        member.standing = Standing.EJECTED
        self._until[member] = until = now + pause
        member.update()
        self._later(pause, partial(self._try, member, until))
        self._closed(member)

    def _try(self, member: Member, until: float) -> None:
        if member.standing is Standing.EJECTED and self._until.get(member) == until:
            member.standing = Standing.ON_TRIAL
            member.update()
            self._opened(member)

    def _grow(self, member: Member) -> None:
        if member.learned is None:
            member.grows = False
            return
        member.learned += max(1, member.learned // 2)
        member.grows = member.learned < member.instance.max_concurrency
        if member.grows:
            self._later(REFUSAL_PAUSE, partial(self._grow, member))
        else:
            member.learned = None
        member.update()
        self._opened(member)
