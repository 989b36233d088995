"""Which instance an affinity key belongs to: the one it went to last, and at first the one that every dispatcher would choose.

Source of the method: D. Thaler, C. Ravishankar, A Name-Based Mapping Scheme for Rendezvous, University of Michigan CSE-TR-316-96.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Collection
from collections.abc import Set as AbstractSet

from parade_dispatcher.group import Group
from parade_dispatcher.member import FIRST, Member, Standing

CAPACITY = 10_000
"""Keys of one agent that are remembered; the one used longest ago goes first."""
_MASK = (1 << 64) - 1


class Affinity:
    """The keys of one agent's calls."""

    __slots__ = ("_members",)

    def __init__(self) -> None:
        """Starts without keys."""
        self._members: OrderedDict[str, Member] = OrderedDict()

    def member(self, key: str, group: Group, tried: AbstractSet[str] | None) -> Member | None:
        """Returns the instance that calls with this key go to; None where none can have them."""
        member = self._members.get(key)
        if member is not None and _usable(member, tried):
            self._members.move_to_end(key)
            if member.id in group.members:
                return member
            return _chosen(key, group.members.values(), tried)  # this call may not go there; the others still do
        member = _chosen(key, group.members.values(), tried)
        if member is not None:
            self._members[key] = member
            self._members.move_to_end(key)
            if len(self._members) > CAPACITY:
                self._members.popitem(last=False)
        return member


def _usable(member: Member, tried: AbstractSet[str] | None) -> bool:
    return member.callable and member.standing is not Standing.EJECTED and not (tried and member.id in tried)


def _chosen(key: str, members: Collection[Member], tried: AbstractSet[str] | None) -> Member | None:
    usable = [member for member in members if _usable(member, tried)]
    best = [member for member in usable if member.tier == FIRST] or usable
    if not best:
        return None
    number = int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest())
    return max(best, key=lambda member: (_mixed(number ^ member.seed), member.id))


def _mixed(number: int) -> int:
    # The finalizer of SplitMix64 (G. Steele et al., Fast Splittable Pseudorandom Number Generators, 2014): every bit depends on every bit.
    number = ((number ^ (number >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    number = ((number ^ (number >> 27)) * 0x94D049BB133111EB) & _MASK
    return number ^ (number >> 31)
