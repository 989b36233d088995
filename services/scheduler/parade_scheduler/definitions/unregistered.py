"""Whether the functions that a definition calls are there, and which may have been meant where they are not."""

import asyncio
from collections.abc import Collection
from typing import Final

from parade_scheduler.language import Definition, Fault, Faults
from parade_scheduler.ports import Functions

MAX_NAMED: Final = 10
"""How many functions of an agent a hint names."""


async def unregistered(functions: Functions, namespace: str, principal: str, definition: Definition) -> tuple[Fault, ...]:
    """Returns a fault for every step that calls a function which no agent has registered.

    Raises:
        ParadeError: UNAVAILABLE, where nobody can be asked.
    """
    agents = {_agent(function) for function in definition.functions}
    known = await functions.registered(namespace, principal, agents)
    missing = definition.functions.keys() - known
    if not missing:
        return ()
    if {_agent(function) for function in missing} - {_agent(function) for function in known}:
        known |= await functions.first(namespace, principal)
    # In a thread, for to compare many names takes a second.
    return await asyncio.to_thread(_faults, definition, missing, known)


def _faults(definition: Definition, missing: Collection[str], known: Collection[str]) -> tuple[Fault, ...]:
    faults = Faults()
    of_agent: dict[str, list[str]] = {}
    for function in sorted(known):
        of_agent.setdefault(_agent(function), []).append(function)
    for function in sorted(missing):
        hint = _hint(faults, function, of_agent, known)
        for field, line in definition.functions[function]:
            faults.add(field, line, f"no agent has registered the function `{function}`", hint)
    return faults.in_order()


def _hint(faults: Faults, function: str, of_agent: dict[str, list[str]], known: Collection[str]) -> str:
    """Returns the nearest function of the same agent, or what this agent has; else the nearest of any, or which agents there are."""
    siblings = of_agent.get(_agent(function), [])
    near = faults.hint(function, siblings or known)
    if near:
        return near
    if siblings:
        return f"known of `{_agent(function)}`: {_listed(siblings)}"
    return f"known agents: {_listed(sorted(of_agent))}" if of_agent else "there is no function yet; start its agent"


def _listed(names: list[str]) -> str:
    shown = ", ".join(f"`{name}`" for name in names[:MAX_NAMED])
    return f"{shown} and {len(names) - MAX_NAMED:,} more" if len(names) > MAX_NAMED else shown


def _agent(function: str) -> str:
    return function.partition(".")[0]
