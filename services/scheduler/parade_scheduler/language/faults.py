"""Every fault of one definition, in the order of its lines."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

from parade.wire.errors import Violation

MAX_FAULTS = 10_000
"""How many faults are kept; an answer has room for far fewer."""
MAX_HINTS = 100
"""For how many words what may have been meant is looked for; a document of a thousand wrong words would take minutes."""
MAX_WORD = 64
"""The longest word for which it is."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong in a definition."""

    field: str
    """Its path within the document, for example `steps.clean.call`; empty for the document itself."""
    line: int
    """Its line, counted from 1."""
    description: str
    """What is wrong."""
    hint: str = ""
    """What to write instead, where that is known."""

    def violation(self) -> Violation:
        """Returns it as a refusal tells it: what is wrong and what would be right in one text."""
        return Violation(self.field, f"{self.description}; {self.hint}" if self.hint else self.description, self.line)


class UnreadableError(Exception):
    """A fault after which nothing more can be read. It has been noted."""


class Faults:
    """Collects faults, so that an author sees all of them in one go."""

    def __init__(self) -> None:
        """Starts with none."""
        self._found: list[Fault] = []
        self._hints = 0

    def add(self, field: str, line: int, description: str, hint: str = "") -> None:
        """Notes a fault at a path and a line counted from 1, and what to write instead."""
        if len(self._found) < MAX_FAULTS:
            self._found.append(Fault(field, line, description, hint))

    def unknown_word(self, field: str, line: int, word: str, known: Iterable[str]) -> None:
        """Notes a word that the language does not have, with what may have been meant."""
        choices = sorted(known)
        self.add(field, line, f"there is no word `{word[:60]}` here", self.hint(word, choices) or f"known here: {', '.join(choices)}")

    def hint(self, word: str, known: Iterable[str]) -> str:
        """Returns what may have been meant by a wrong word, as a question; an empty text where nothing comes near."""
        self._hints += 1
        if len(word) > MAX_WORD or self._hints > MAX_HINTS:
            return ""
        close = difflib.get_close_matches(word, sorted(known), n=1)
        return f"did you mean `{close[0]}`?" if close else ""

    def in_order(self) -> tuple[Fault, ...]:
        """Returns the faults by their lines."""
        return tuple(sorted(self._found, key=lambda fault: fault.line))

    def error(self, field: str, line: int, description: str, hint: str = "") -> UnreadableError:
        """Notes a fault after which nothing more can be read, and makes the error that ends the reading."""
        self.add(field, line, description, hint)
        return UnreadableError(description)
