"""What a check of `parade doctor` found."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from parade.wire.errors import ParadeError

ANSWER_TIMEOUT = 3.0
"""Seconds in which whatever is asked must answer."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of one check."""

    check: str
    """What was looked at."""
    ok: bool
    detail: str
    """What was seen."""
    advice: str = ""
    """What to do, where it is not well."""


async def asked(check: str, question: Callable[[], Awaitable[Finding]], advice: str) -> Finding:
    """Asks a question of the mesh; that there is no answer is a finding too.

    Args:
        check: What is looked at.
        question: Asks, and says what was found.
        advice: What to do where there is no answer.
    """
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT):
            return await question()
    except TimeoutError:
        return Finding(check, ok=False, detail=f"no answer within {ANSWER_TIMEOUT:g} s", advice=advice)
    except (ParadeError, OSError) as error:
        return Finding(check, ok=False, detail=str(error), advice=advice)
