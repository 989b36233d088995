"""Every fault of one definition, in the order of its lines."""

import difflib
from collections.abc import Iterable

from parade.wire.errors import ParadeError, Violation
from parade_scheduler.refusal import refused

MAX_HINTS = 100
"""For how many words what may have been meant is looked for; a document of a thousand wrong words would take minutes."""
MAX_WORD = 64
"""The longest word for which it is."""


class Faults:
    """Collects faults, so that an author sees all of them in one go."""

    def __init__(self) -> None:
        """Starts with none."""
        self._violations: list[Violation] = []
        self._hints = 0

    def add(self, field: str, line: int, description: str) -> None:
        """Notes a fault at a path and a line counted from 1."""
        self._violations.append(Violation(field, description, line))

    def unknown_word(self, field: str, line: int, word: str, known: Iterable[str]) -> None:
        """Notes a word that the language does not have, with what may have been meant."""
        choices = sorted(known)
        hint = self.hint(word, choices) or f"known here: {', '.join(choices)}"
        self.add(field, line, f"there is no word `{word[:60]}` here; {hint}")

    def hint(self, word: str, known: Iterable[str]) -> str:
        """Returns what may have been meant by a wrong word, as a question; an empty text where nothing comes near."""
        self._hints += 1
        if len(word) > MAX_WORD or self._hints > MAX_HINTS:
            return ""
        close = difflib.get_close_matches(word, sorted(known), n=1)
        return f"did you mean `{close[0]}`?" if close else ""

    def raise_any(self) -> None:
        """Raises INVALID_ARGUMENTS where there is a fault."""
        if not self._violations:
            return
        found = sorted(self._violations, key=lambda violation: violation.line)
        raise refused(found, "the workflow has a fault" if len(found) == 1 else f"the workflow has {len(found)} faults")

    def error(self, field: str, line: int, description: str) -> ParadeError:
        """Makes the error for a fault after which nothing more can be read."""
        self.add(field, line, description)
        return refused(self._violations, "the workflow cannot be read")
