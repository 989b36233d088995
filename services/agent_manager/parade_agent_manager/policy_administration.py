"""The policies of every namespace: stores, lists and deletes them, and tells who decides by them.

Memory is the read side: one replica leads, and writes the store before it changes the memory. It decides nothing by them.
"""

import asyncio
from datetime import datetime
from typing import Final

from parade.wire.errors import ParadeError, Reason, Violation, invalid
from parade.wire.identity import NAME
from parade.wire.log import Log
from parade_agent_manager.access_feed import AccessFeed
from parade_agent_manager.policy import Policy
from parade_agent_manager.policy_store import PolicyStore
from parade_chassis import paging
from parade_chassis.clock import Clock
from parade_chassis.policies import Policies, PolicyText

MAX_POLICIES: Final = 100
"""Policies of a namespace."""
MAX_RULES: Final = 1_000
"""Rules of a namespace: what nobody has asked yet takes 2 ms to decide then."""
MAX_BYTES: Final = 256 * 1024
"""Of text of all policies of a namespace: every service holds it."""
MAX_DELETED: Final = 100
"""Deleted policies of a namespace whose versions are kept."""


class PolicyAdministration:
    """The policies there are."""

    def __init__(self, *, store: PolicyStore, feed: AccessFeed, own: Policies, clock: Clock, log: Log) -> None:
        """Takes its collaborators; `load` comes first.

        Args:
            store: Where policies are kept.
            feed: How the other services hear of them.
            own: What this process itself knows of them.
            clock: The time.
            log: Where it says what it did.
        """
        self._store = store
        self._feed = feed
        self._own = own
        self._clock = clock
        self._log = log
        self._newest: dict[tuple[str, str], Policy] = {}
        self._order = asyncio.Lock()
        feed.draw(self._told)

    async def load(self) -> None:
        """Reads what the store has."""
        self._newest = {policy.place: policy for policy in await self._store.newest()}
        self._own.replace(self._told())

    async def put(self, author: str, namespace: str, name: str, text: str, expected: int | None) -> Policy:
        """Stores a policy as a new version, and returns it; where its text is that of the newest one, that one.

        Args:
            author: Who asks.
            namespace: Where it is to hold.
            name: What it is called.
            text: Its rules.
            expected: The newest version that the author knows, 0 for none; None for any.

        Raises:
            ParadeError: INVALID_ARGUMENTS with every fault; FAILED_PRECONDITION.
        """
        if not NAME.fullmatch(name):
            raise invalid([Violation("name", 'must be a lower-case letter and then lower-case letters, digits or "-", at most 40')])
        count = await asyncio.to_thread(count_rules, text)
        async with self._order:
            there = self._newest.get((namespace, name))
            if there is not None and there.text == text:
                return there
            self._demand(expected, there)
            self._demand_room(namespace, name, text, count)
            policy = await self._add(namespace, name, text, count, author)
        self._log.info("policy stored", policy=name, version=policy.version, namespace=namespace, rules=count, principal=author)
        return policy

    async def delete(self, author: str, namespace: str, name: str, expected: int | None) -> Policy:
        """Deletes a policy, and returns it as it was.

        Raises:
            ParadeError: NOT_FOUND; FAILED_PRECONDITION.
        """
        async with self._order:
            there = self._held(namespace, name)
            self._demand(expected, there)
            await self._forget_oldest(namespace)
            await self._add(namespace, name, "", 0, author)
        self._log.info("policy deleted", policy=name, version=there.version, namespace=namespace, principal=author)
        return there

    async def get(self, namespace: str, name: str, version: int) -> Policy:
        """Returns a version of a policy, the newest for 0.

        Raises:
            ParadeError: NOT_FOUND.
        """
        if not version:
            return self._held(namespace, name)
        # Only of a name that is known: a database may not take every text.
        found = await self._store.version(namespace, name, version) if (namespace, name) in self._newest else None
        if found is None:
            raise ParadeError(Reason.NOT_FOUND, f"there is no version {version} of a policy {name[:80]} in namespace {namespace}")
        return found

    def page(self, namespace: str, size: int, token: str) -> tuple[list[Policy], str]:
        """Returns a page of the policies of a namespace, by name, and the token of the next.

        Raises:
            ParadeError: INVALID_ARGUMENTS where size or token are not usable.
        """
        scope = f"policies of {namespace}"
        after = paging.last_of(scope, token)
        found = [policy for policy in self._of(namespace) if policy.name > after]
        return paging.page_of(found, paging.size_of(size), scope, lambda policy: policy.name, lambda policy: policy.size)

    def told(self, namespace: str) -> dict[str, PolicyText]:
        """Returns the policies of a namespace by name, as services are told."""
        return {policy.name: policy.told() for policy in self._of(namespace)}

    async def _add(self, namespace: str, name: str, text: str, count: int, author: str) -> Policy:
        there = self._newest.get((namespace, name))
        version = 1 if there is None else there.version + 1
        policy = Policy(namespace, name, version, text, count, author, self._clock.now())
        await self._store.add(policy)
        self._newest[policy.place] = policy
        self._own.put(policy.told())
        self._feed.tell(policy.told())
        return policy

    async def _forget_oldest(self, namespace: str) -> None:
        """Forgets the policy that was deleted first, where there are many of that kind."""
        deleted = [policy for policy in self._newest.values() if policy.namespace == namespace and not policy.holds]
        if len(deleted) < MAX_DELETED:
            return
        oldest = min(deleted, key=_created)
        await self._store.remove(oldest)
        del self._newest[oldest.place]

    def _of(self, namespace: str) -> list[Policy]:
        found = (policy for policy in self._newest.values() if policy.namespace == namespace and policy.holds)
        return sorted(found, key=lambda policy: policy.name)

    def _held(self, namespace: str, name: str) -> Policy:
        found = self._newest.get((namespace, name))
        if found is None or not found.holds:
            raise ParadeError(Reason.NOT_FOUND, f"there is no policy {name[:80]} in namespace {namespace}")
        return found

    def _told(self) -> list[PolicyText]:
        return [policy.told() for policy in self._newest.values() if policy.holds]

    def _demand(self, expected: int | None, there: Policy | None) -> None:
        newest = there.version if there is not None and there.holds else 0
        if expected is not None and expected != newest:
            now = f"its newest version is {newest}" if newest else "there is no such policy"
            raise ParadeError(Reason.FAILED_PRECONDITION, f"version {expected} was expected, and {now}", metadata={"version": str(newest)})

    def _demand_room(self, namespace: str, name: str, text: str, count: int) -> None:
        others = [policy for policy in self._of(namespace) if policy.name != name]
        full = ""
        if len(others) >= MAX_POLICIES:
            full = f"{MAX_POLICIES} policies"
        elif count + sum(policy.rule_count for policy in others) > MAX_RULES:
            full = f"{MAX_RULES:,} rules"
        elif len(text.encode()) + sum(len(policy.text.encode()) for policy in others) > MAX_BYTES:
            full = f"{MAX_BYTES // 1024} KiB of policies"
        if full:
            raise ParadeError(Reason.FAILED_PRECONDITION, f"namespace {namespace} has no room: at most {full} hold there; delete some")


def count_rules(text: str) -> int:
    """Checks a text, and returns how many rules it holds.

    Raises:
        ParadeError: INVALID_ARGUMENTS with every fault.
    """
    from parade_chassis.cedar import checked_rules  # takes 11 MB, which a mesh without policies need not spend

    return len(checked_rules(text))


def _created(policy: Policy) -> datetime:
    return policy.created
