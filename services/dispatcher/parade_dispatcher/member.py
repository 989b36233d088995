"""An instance as the dispatcher uses it: what it has outstanding, how much more it may have, and where it is listed while it has room."""

import hashlib
from enum import Enum
from typing import TYPE_CHECKING, Protocol

from parade_dispatcher.model import Instance, InstanceState
from parade_dispatcher.queue import Queue

if TYPE_CHECKING:
    from parade_dispatcher.group import Group

FIRST, SECOND = 0, 1
"""Those that are asked first, and those that are asked where none of the first has room."""


class Standing(Enum):
    """Whether an instance is trusted with calls."""

    TRUSTED = "TRUSTED"
    EJECTED = "EJECTED"
    """It has just failed and is left alone for a while."""
    ON_TRIAL = "ON_TRIAL"
    """It gets one call, which shows whether it is well again."""


class Held(Protocol):
    """Something that an instance is needed for."""

    def instance_gone(self, message: str) -> None:
        """Hears that the instance is LOST or GONE."""
        ...


class Member:
    """One instance of an agent."""

    __slots__ = (
        "asked",
        "ejections",
        "groups",
        "grows",
        "id",
        "instance",
        "learned",
        "limit",
        "listed",
        "outstanding",
        "pinned",
        "recovered",
        "row",
        "running",
        "seed",
        "since",
        "standing",
        "suspect",
        "tier",
        "troubled",
        "weight",
    )

    def __init__(self, instance: Instance) -> None:
        """Starts without a call, and in no group."""
        self.instance = instance
        self.id = instance.id
        self.outstanding = 0
        self.limit = instance.max_concurrency
        """How many calls it may have at once, as things are now."""
        self.weight = 1.0
        self.since = 0.0
        """When it became callable."""
        self.tier = -1
        """`FIRST` or `SECOND`; -1 where it takes no calls."""
        self.listed = -1
        """The tier in whose lists it stands; -1 where it has no room."""
        self.groups: list[Group] = []
        self.running: set[Held] = set()
        """The attempts that it has."""
        self.asked: set[Held] = set()
        """The calls whose outcome it is asked for."""
        self.pinned: Queue | None = None
        """The calls that wait for this instance and no other."""
        self.seed = int.from_bytes(hashlib.blake2b(instance.id.encode(), digest_size=8).digest())
        """What chooses it for affinity keys, the same in every dispatcher."""
        self.learned: int | None = None
        """How many calls it seems to have room for, since it refused one; None where it has what it declared."""
        self.grows = False
        """Whether a timer is to raise `learned`."""
        self.standing = Standing.TRUSTED
        self.suspect = False
        """Whether it failed when no more instances could be ejected."""
        self.row = 0
        """Failures in a row."""
        self.ejections = 0
        """Times that it was ejected, without a long good spell between them."""
        self.recovered = 0.0
        """When it was trusted again."""
        self.troubled = False
        """Whether an answer of it has something to put right: so that the answers of all others cost nothing."""

    @property
    def callable(self) -> bool:
        """Whether its state lets it take calls."""
        return self.tier >= 0

    @property
    def gone(self) -> bool:
        """Whether nothing more is to be hoped from it."""
        return self.instance.state in (InstanceState.LOST, InstanceState.GONE)

    def update(self) -> None:
        """Brings limit, tier and lists in line with what is known."""
        instance = self.instance
        match self.standing:
            case Standing.TRUSTED:
                limit = instance.max_concurrency
                self.limit = limit if self.learned is None else min(limit, self.learned)
            case Standing.EJECTED:
                self.limit = 0
            case Standing.ON_TRIAL:
                self.limit = 1
        match instance.state:
            case InstanceState.READY:
                self.tier = SECOND if self.suspect else FIRST
            case InstanceState.DEGRADED:
                self.tier = SECOND
            case _:
                self.tier = -1
        self.troubled = self.suspect or self.row > 0 or self.standing is not Standing.TRUSTED
        self.list()

    def list(self) -> None:
        """Stands in the lists of its groups where it has room, in none where it has not."""
        wanted = self.tier if self.outstanding < self.limit else -1
        if wanted == self.listed:
            return
        if self.listed >= 0:
            for group in self.groups:
                group.free[self.listed].discard(self)
        if wanted >= 0:
            for group in self.groups:
                group.free[wanted].add(self)
        self.listed = wanted
