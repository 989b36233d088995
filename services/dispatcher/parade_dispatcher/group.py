"""The instances that one kind of call may go to, those of them with room, and the calls of that kind that wait."""

from parade_dispatcher.member import Member
from parade_dispatcher.queue import Queue

Labels = tuple[tuple[str, str], ...]
Key = tuple[str, Labels]
"""A function and labels; the empty function stands for all."""


class Free:
    """Instances with room. One goes in or out at the same price however many there are."""

    __slots__ = ("index", "items")

    def __init__(self) -> None:
        """Starts empty."""
        self.items: list[Member] = []
        self.index: dict[Member, int] = {}

    def add(self, member: Member) -> None:
        """Takes one in."""
        self.index[member] = len(self.items)
        self.items.append(member)

    def discard(self, member: Member) -> None:
        """Leaves one out; the last takes its place."""
        place = self.index.pop(member)
        last = self.items.pop()
        if last is not member:
            self.items[place] = last
            self.index[last] = place


class Group:
    """What calls of one function, or of all, with the same labels may go to."""

    __slots__ = ("_function", "_labels", "free", "members", "queue")

    def __init__(self, key: Key) -> None:
        """Starts without members."""
        self._function, self._labels = key
        self.members: dict[str, Member] = {}
        """The callable ones, with room or without."""
        self.free = (Free(), Free())
        """Those with room: the ones asked first, and the others."""
        self.queue = Queue()

    def suits(self, member: Member) -> bool:
        """Returns whether calls of this kind may go there."""
        instance = member.instance
        if self._function and self._function not in instance.functions:
            return False
        labels = instance.labels
        return all(labels.get(name) == value for name, value in self._labels)

    def add(self, member: Member) -> None:
        """Takes a callable instance in."""
        self.members[member.id] = member
        member.groups.append(self)
        if member.listed >= 0:
            self.free[member.listed].add(member)

    def discard(self, member: Member) -> None:
        """Leaves an instance out."""
        if self.members.pop(member.id, None) is None:
            return
        member.groups.remove(self)
        if member.listed >= 0:
            self.free[member.listed].discard(member)
