"""Which step needs which: cycles, and everything that has ended before a step begins."""

from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import reduce
from operator import and_, or_


def cycles(needs: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """Returns cycles such that without their steps none is left; each begins and ends with the same step."""
    remaining = {step: set(needed) & set(needs) for step, needed in needs.items()}
    found: list[list[str]] = []
    while True:
        _take_away(remaining, [step for step, needed in remaining.items() if not needed])
        if not remaining:
            return found
        cycle = _cycle(remaining)
        found.append([*cycle, cycle[0]])
        _take_away(remaining, cycle)


def ancestors(needs: Mapping[str, Sequence[str]], races: Collection[str] = ()) -> dict[str, frozenset[str]]:
    """Returns, for each step, the steps that have ended before it begins: those that it needs directly or through others.

    Steps on a cycle, or behind one, have none. When a race ends, only what every racer needs has surely ended.

    Args:
        needs: For each step, the steps that it needs.
        races: The steps that end with the first of those that they need.
    """
    order = {step: place for place, step in enumerate(needs)}
    names = list(needs)
    # As bits of one number a set of a thousand steps has 125 bytes.
    known: dict[str, int] = {}
    waiting = {step: sum(needed in order for needed in set(needed_steps)) for step, needed_steps in needs.items()}
    needing: dict[str, list[str]] = {step: [] for step in needs}
    for step, needed_steps in needs.items():
        for needed in set(needed_steps) & order.keys():
            needing[needed].append(step)
    ready = deque(step for step, count in waiting.items() if count == 0)
    while ready:
        step = ready.popleft()
        before = [known[needed] | 1 << order[needed] for needed in needs[step] if needed in order]
        known[step] = reduce(and_ if step in races else or_, before, before[0] if before else 0)
        for follower in needing[step]:
            waiting[follower] -= 1
            if waiting[follower] == 0:
                ready.append(follower)
    return {step: frozenset(names[place] for place in range(len(names)) if known.get(step, 0) >> place & 1) for step in needs}


def _take_away(remaining: dict[str, set[str]], steps: Iterable[str]) -> None:
    """Removes steps, and those that then need nothing more, and so on."""
    needing: dict[str, list[str]] = {}
    for step, needed_steps in remaining.items():
        for needed in needed_steps:
            needing.setdefault(needed, []).append(step)
    gone = deque(steps)
    while gone:
        step = gone.popleft()
        if remaining.pop(step, None) is None:
            continue
        for follower in needing.get(step, ()):
            if follower in remaining:
                remaining[follower].discard(step)
                if not remaining[follower]:
                    gone.append(follower)


def _cycle(remaining: Mapping[str, set[str]]) -> list[str]:
    """Walks along needs until a step comes again; every step in `remaining` needs another one in it."""
    path: list[str] = []
    places: dict[str, int] = {}
    step = next(iter(remaining))
    while step not in places:
        places[step] = len(path)
        path.append(step)
        step = min(remaining[step])
    return path[places[step] :]
