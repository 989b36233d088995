"""Who has lost a race: the steps that end because another one was quicker. Read off the rows, so that every process finds the same."""

from collections.abc import Iterator, Mapping

from parade_scheduler.language import Definition
from parade_scheduler.model import STEP_ENDED, Step, StepState

_DECIDED = frozenset({StepState.SUCCEEDED, StepState.CANCELLED})
_USELESS = frozenset({StepState.CANCELLED, StepState.SKIPPED})


def losers(definition: Definition, steps: Mapping[str, Step]) -> Iterator[str]:
    """Yields the steps that have not ended and that nothing wants any more, those that others need after those others.

    A racer is wanted until its race is decided: won by another, or lost itself. A step that does not race is wanted as long as one of those
    is that need it.
    """
    if not definition.raced_by:
        return
    useless: set[str] = set()
    for step in reversed(definition.in_order):
        if steps[step].state not in STEP_ENDED and _is_lost(definition, steps, step, useless):
            useless.add(step)
            yield step


def _is_lost(definition: Definition, steps: Mapping[str, Step], step: str, useless: set[str]) -> bool:
    races = definition.raced_by.get(step, ())
    if any(steps[race].state in _DECIDED or race in useless for race in races):
        return True
    followers = [follower for follower in definition.needed_by[step] if follower not in races]
    return bool(followers) and not races and all(steps[follower].state in _USELESS or follower in useless for follower in followers)
