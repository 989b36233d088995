"""What can be read of the picture: agents and functions, in pages. It changes nothing."""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import TypeVar

from parade.wire.errors import ParadeError, Reason
from parade_agent_manager.model import CALLABLE, Agent, AgentKey, AgentState, KnownFunction, Roster
from parade_agent_manager.registry import Registry
from parade_chassis import paging

EntryT = TypeVar("EntryT")


def required_agent(registry: Registry, key: AgentKey) -> Agent:
    """Returns an agent.

    Raises:
        ParadeError: NOT_FOUND.
    """
    agent = registry.agent(key)
    if agent is None:
        raise ParadeError(Reason.NOT_FOUND, f"there is no agent {key[1][:80]} in namespace {key[0]}")
    return agent


class Catalogue:
    """The questions about agents and functions, each within one namespace."""

    def __init__(self, registry: Registry) -> None:
        """Takes the picture."""
        self._registry = registry

    def roster(self, key: AgentKey) -> Roster:
        """Returns an agent with its instances.

        Raises:
            ParadeError: NOT_FOUND.
        """
        return self._registry.roster(required_agent(self._registry, key))

    def agents(self, namespace: str, size: int, token: str) -> tuple[list[Roster], str]:
        """Returns a page of the agents of a namespace, by name, and the token of the next.

        Raises:
            ParadeError: INVALID_ARGUMENTS where size or token are not usable.
        """
        rosters = [self._registry.roster(agent) for agent in self._registry.agents(namespace)]
        return _page(rosters, lambda roster: roster.agent.name, lambda roster: roster.size, size, token, f"agents of {namespace}")

    def functions(self, namespace: str, agent: str, size: int, token: str) -> tuple[list[KnownFunction], str]:
        """Returns a page of the functions of a namespace, by full name, and the token of the next.

        Args:
            namespace: The namespace.
            agent: The agent whose functions are wanted; empty for all.
            size: How many; 0 for a usual number.
            token: Where to go on.

        Raises:
            ParadeError: INVALID_ARGUMENTS where size or token are not usable.
        """
        known = [
            function
            for found in self._registry.agents(namespace)
            if agent in ("", found.name)
            for function in _known_functions(self._registry.roster(found))
        ]
        known.sort(key=lambda entry: entry.full_name)
        scope = f"functions of {namespace}/{agent}"
        return _page(known, lambda entry: entry.full_name, lambda entry: entry.function.size, size, token, scope)


def _page(
    entries: Sequence[EntryT], name: Callable[[EntryT], str], weight: Callable[[EntryT], int], size: int, token: str, scope: str
) -> tuple[list[EntryT], str]:
    after = paging.last_of(scope, token)
    start = bisect_right(entries, after, key=name) if after else 0
    return paging.page_of(entries[start:], paging.size_of(size), scope, name, weight)


def _known_functions(roster: Roster) -> list[KnownFunction]:
    able = roster.instances if roster.agent.state is AgentState.ACTIVE else ()
    ready: dict[str, int] = {}
    for instance in able:
        if instance.state in CALLABLE:
            for function in instance.registration.functions:
                ready[function.name] = ready.get(function.name, 0) + 1
    return [KnownFunction(roster.agent.name, function, ready.get(function.name, 0)) for function in roster.agent.functions]
