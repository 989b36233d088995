"""The instances of one agent and the calls that wait for them: which instance has a call now, or that it must wait. It sends nothing."""

import dataclasses
from collections import Counter
from collections.abc import Iterator
from typing import Protocol, cast

from parade.wire.errors import ParadeError, Reason
from parade_chassis.policies import labels_of
from parade_dispatcher import refusal
from parade_dispatcher.affinity import Affinity
from parade_dispatcher.balancer import Balancer
from parade_dispatcher.budget import Budget
from parade_dispatcher.ejection import Ejection
from parade_dispatcher.group import Group, Key
from parade_dispatcher.member import Held, Member, Standing
from parade_dispatcher.model import Agent, Instance, InstanceState, Request
from parade_dispatcher.ports import Later, Now
from parade_dispatcher.queue import Queue, Waiter
from parade_dispatcher.quotas import Room
from parade_dispatcher.slow_start import SlowStart

MOST_WAITING = 10_000
"""Calls of one agent that may wait for an instance."""
_MOST_GROUPS = 256
"""Kinds of calls of one agent for which lists are kept; beyond it those that nobody waits in are made anew when needed."""
_EVERYONE: Key = ("", ())


class Seeker(Waiter, Protocol):
    """A call that needs an instance."""

    request: Request
    queue: Queue | None
    """Where it waits; None where it does not."""

    deadline: float
    """When its caller stops waiting."""

    def expired(self) -> None:
        """Hears that its deadline has passed."""
        ...

    def give(self, member: Member, now: float) -> None:
        """Takes an instance, now; one more of its calls is counted already."""
        ...

    def seek(self) -> None:
        """Seeks an instance again: the one that it waited for is not to be had."""
        ...


class Pool:
    """The instances of one agent."""

    def __init__(self, balancer: Balancer, now: Now, later: Later, room: Room) -> None:
        """Starts without instances, as one of the pools that share a namespace's room; the agent is not known yet."""
        self.agent: Agent | None = None
        self.room = room
        self.members: dict[str, Member] = {}
        """All that are known, in whatever state."""
        self.waiting = 0
        """How many calls wait."""
        self.budget = Budget()
        self._balancer = balancer
        self._now = now
        self._callable: dict[str, Member] = {}
        self._groups: dict[Key, Group] = {}
        self._served: Counter[frozenset[str]] = Counter()
        """The sets of functions that callable instances serve, and how many serve them."""
        self._functions: frozenset[str] = frozenset()
        """What all of them serve, while that is the same."""
        self._everyone: Group | None = None
        """The group of the calls without labels while all instances serve the same functions."""
        self._affinity = Affinity()
        self._labels: frozenset[str] | None = None
        self._slow_start = SlowStart(now, later)
        self.ejection = Ejection(self._callable, now, later, self.feed, self._reroute)

    @property
    def labels(self) -> frozenset[str]:
        """What policies see of the labels of its instances, in whatever state these are."""
        labels = self._labels
        if labels is None:
            labels = self._labels = labels_of(*(member.instance.labels for member in self.members.values()))
        return labels

    def take(self, seeker: Seeker) -> Member | None:
        """Counts one more call at an instance and returns that; None where the call waits now.

        Raises:
            ParadeError: NO_CAPACITY where there is no instance to wait for, or the queue is full.
        """
        request, agent, group = seeker.request, self.agent, self._everyone
        if agent is None or agent.paused:
            raise refusal.paused(request.agent)
        if group is None or request.labels or request.function not in self._functions:
            group = self._group(request)
        tried = seeker.tried
        if request.affinity_key:
            return self._take_pinned(seeker, group)
        for free in group.free:
            candidates = free.items
            if candidates:
                if tried:
                    candidates = [member for member in candidates if member.id not in tried]
                    if not candidates:
                        continue
                member: Member = self._balancer.choose(candidates, request)  # type: ignore[assignment]  # what is no member is found next
                if member not in free.index:
                    raise _stranger(self._balancer)  # a package's fault; counting a call there would lose the place
                member.outstanding = outstanding = member.outstanding + 1
                if outstanding >= member.limit:
                    member.list()
                return member
        if not any(member.standing is not Standing.EJECTED and not (tried and member.id in tried) for member in group.members.values()):
            raise self._refusal(seeker, group)
        self._wait(seeker, group.queue)
        return None

    def release(self, member: Member, attempt: Held) -> None:
        """Counts one call less at an instance, which may go to another call at once."""
        member.running.discard(attempt)
        member.outstanding -= 1
        if member.listed < 0:
            member.list()
        if self.waiting:
            self.feed(member)

    def refused(self, member: Member, attempt: Held) -> None:
        """Counts one call less at an instance that had no room for it after all."""
        member.running.discard(attempt)
        member.outstanding -= 1
        self.ejection.refused(member)

    def leave(self, seeker: Seeker) -> None:
        """Lets a call wait no longer."""
        if seeker.queue is not None:
            seeker.queue.remove(seeker)
            seeker.queue = None
            self.waiting -= 1

    def feed(self, member: Member) -> None:
        """Gives an instance with room the calls that are next."""
        while self.waiting and member.callable and member.outstanding < member.limit and self.agent is not None and not self.agent.paused:
            best: Seeker | None = None
            for queue in _queues(member):
                if len(queue):
                    first = cast("Seeker | None", queue.first(member.id))
                    if first is not None and (best is None or (-first.priority, first.arrival) < (-best.priority, best.arrival)):
                        best = first
            if best is None:
                return
            self.leave(best)
            now = self._now()
            if best.deadline <= now:
                best.expired()
                continue
            member.outstanding += 1
            member.list()
            best.give(member, now)

    def put_agent(self, agent: Agent) -> None:
        """Takes what is known of the agent itself."""
        self.agent = agent
        if self.waiting:
            for member in list(self._callable.values()):
                self.feed(member)

    def put(self, instance: Instance, *, new: bool) -> None:
        """Takes an instance that is new or has changed.

        Args:
            instance: It.
            new: Whether it has only just come, so that it is to start slowly beside others.
        """
        self._labels = None
        member = self.members.get(instance.id)
        if member is None:
            member = self.members[instance.id] = Member(instance)
        before, member.instance = member.instance, instance
        was_callable = member.callable
        same = before.functions.keys() == instance.functions.keys() and before.labels == instance.labels
        if was_callable and (not same or instance.state not in (InstanceState.READY, InstanceState.DEGRADED)):
            self._leave(member, before)
        member.update()
        if member.callable:
            if member.id not in self._callable:
                self._enter(member)
            if new and not was_callable and len(self._callable) > 1:
                self._slow_start.begin(member)
        elif was_callable:
            self.ejection.forget(member)
            member.update()
            self._reroute(member)
        if member.gone:
            self._lose(member)
        elif self.waiting:
            self.feed(member)

    def gone(self, instance_id: str) -> None:
        """Forgets an instance; it loses its calls."""
        member = self.members.get(instance_id)
        if member is None:
            return
        self.put(dataclasses.replace(member.instance, state=InstanceState.GONE), new=False)
        self.members.pop(instance_id, None)
        self._labels = None

    # ---- groups

    def _group(self, request: Request) -> Group:
        key = (request.function, tuple(sorted(request.labels.items())) if request.labels else ())
        group = self._groups.get(key)
        if group is None:
            if len(self._groups) >= _MOST_GROUPS:
                self._sweep()
            group = self._groups[key] = self._made(key)
        return group

    def _made(self, key: Key) -> Group:
        group = Group(key)
        for member in self._callable.values():
            if group.suits(member):
                group.add(member)
        return group

    def _sweep(self) -> None:
        for key, group in list(self._groups.items()):
            if not len(group.queue) and group is not self._everyone:
                del self._groups[key]
                for member in list(group.members.values()):
                    group.discard(member)

    def _enter(self, member: Member) -> None:
        self._callable[member.id] = member
        self._served[frozenset(member.instance.functions)] += 1
        for group in self._groups.values():
            if group.suits(member):
                group.add(member)
        self._regroup()

    def _leave(self, member: Member, before: Instance) -> None:
        del self._callable[member.id]
        served = frozenset(before.functions)
        self._served[served] -= 1
        if not self._served[served]:
            del self._served[served]
        for group in list(member.groups):
            group.discard(member)
        self._regroup()

    def _regroup(self) -> None:
        """Lets one group hold all instances while they serve the same functions, so that few lists are to be kept."""
        uniform = len(self._served) == 1
        self._functions = next(iter(self._served)) if uniform else frozenset()
        if uniform == (self._everyone is not None):
            return
        waiting = sorted(
            (seeker for group in self._groups.values() for seeker in group.queue.clear()), key=lambda each: (-each.priority, each.arrival)
        )
        for group in self._groups.values():
            for member in list(group.members.values()):
                group.discard(member)
        self._groups.clear()
        self._everyone = self._made(_EVERYONE) if uniform else None
        if self._everyone is not None:
            self._groups[_EVERYONE] = self._everyone
        for waiter in waiting:
            seeker = cast("Seeker", waiter)
            request = seeker.request
            known = self._everyone is not None and not request.labels and request.function in self._functions
            seeker.queue = (self._everyone if known and self._everyone is not None else self._group(request)).queue
            seeker.queue.push(seeker)

    # ---- what else may become of a call

    def _take_pinned(self, seeker: Seeker, group: Group) -> Member | None:
        member = self._affinity.member(seeker.request.affinity_key, group, seeker.tried)
        if member is None:
            raise self._refusal(seeker, group)
        if member.outstanding < member.limit:
            member.outstanding += 1
            member.list()
            return member
        if member.pinned is None:
            member.pinned = Queue()
        self._wait(seeker, member.pinned)
        return None

    def _wait(self, seeker: Seeker, queue: Queue) -> None:
        if self.waiting >= MOST_WAITING:
            raise refusal.queue_full(seeker.request, self._callable.values(), self.waiting)
        queue.push(seeker)
        seeker.queue = queue
        self.waiting += 1

    def _refusal(self, seeker: Seeker, group: Group) -> ParadeError:
        request = seeker.request
        tried = seeker.tried or ()
        untried = [member for member in group.members.values() if member.id not in tried]
        serving = [member for member in self.members.values() if request.function in member.instance.functions]
        pause = min((self.ejection.pause_left(member) for member in untried), default=0.0)
        return refusal.no_instance(request, serving, untried, pause)

    def _reroute(self, member: Member) -> None:
        """Lets the calls that wait for one instance seek another, since it is not to be had."""
        if member.pinned is None:
            return
        queue, member.pinned = member.pinned, None
        for waiter in queue.clear():
            seeker = cast("Seeker", waiter)
            seeker.queue = None
            self.waiting -= 1
            seeker.seek()

    def _lose(self, member: Member) -> None:
        message = f"the agent_manager says that it is {member.instance.state.value}"
        for held in [*member.running, *member.asked]:
            held.instance_gone(message)


def _queues(member: Member) -> Iterator[Queue]:
    for group in member.groups:
        yield group.queue
    if member.pinned is not None:
        yield member.pinned


def _stranger(balancer: Balancer) -> ParadeError:
    message = f"the balancer {type(balancer).__name__} chose an instance that was not among the candidates; install another version of it"
    return ParadeError(Reason.INTERNAL, message)
