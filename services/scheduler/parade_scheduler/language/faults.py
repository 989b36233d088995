"""Every fault of one definition, in the order of its lines."""

import difflib
from collections.abc import Iterable

from parade.wire.errors import ParadeError, Violation, invalid

MAX_FAULTS = 100
"""How many faults are told at once; a document that is no workflow at all would have a fault in every line."""


class Faults:
    """Collects faults, so that an author sees all of them in one go."""

    def __init__(self) -> None:
        """Starts with none."""
        self._violations: list[Violation] = []

    def add(self, field: str, line: int, description: str) -> None:
        """Notes a fault at a path and a line counted from 1."""
        self._violations.append(Violation(field, description, line))

    def unknown_word(self, field: str, line: int, word: str, known: Iterable[str]) -> None:
        """Notes a word that the language does not have, with what may have been meant."""
        choices = sorted(known)
        close = difflib.get_close_matches(word, choices, n=1)
        hint = f"did you mean `{close[0]}`?" if close else f"known here: {', '.join(choices)}"
        self.add(field, line, f"there is no word `{word[:60]}` here; {hint}")

    def raise_any(self) -> None:
        """Raises INVALID_ARGUMENTS where there is a fault."""
        if not self._violations:
            return
        found = sorted(self._violations, key=lambda violation: violation.line)
        count = len(found)
        message = "the workflow has a fault" if count == 1 else f"the workflow has {count} faults"
        if count > MAX_FAULTS:
            message += f"; these are the first {MAX_FAULTS}"
        raise invalid(found[:MAX_FAULTS], message)

    def error(self, field: str, line: int, description: str) -> ParadeError:
        """Makes the error for a fault after which nothing more can be read."""
        self.add(field, line, description)
        return invalid(self._violations, "the workflow cannot be read")
