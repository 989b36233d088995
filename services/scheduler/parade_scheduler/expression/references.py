"""What an expression refers to, and how much it can make of it. Read off its words, without running it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from parade_scheduler.expression.tokens import CLOSING, OPENING, Token, TokenKind

_MACROS: Final = frozenset({"all", "exists", "exists_one", "map", "filter"})
_LITERALS: Final = frozenset({"true", "false", "null", "in"})
_PLAIN_TEXT: Final = re.compile(r"""(["'])([^"'\\]*)\1""")

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Reference:
    """A path that an expression reads, for example `steps.clean.output.rows`."""

    path: Path
    """Its parts: keys of objects and places of lists."""
    whole: bool
    """Whether the whole expression is this path and nothing else."""
    iterated: bool = False
    """Whether a macro goes over its items."""

    @property
    def root(self) -> str:
        """The variable that the path begins with."""
        return str(self.path[0])


@dataclass(frozen=True, slots=True)
class Reading:
    """What the words of an expression tell."""

    references: tuple[Reference, ...]
    copies: int
    """At most how many times one value can stand in the result because `map` repeats it."""
    joins: int
    """At most how many times longer than its parts a joined text or list can become."""
    macros: int = 0
    """How many macros it has."""
    depth: int = 0
    """How deep they stand within each other."""
    repeated_joins: int = 0
    """How many `+` stand within macros, and join something for every item."""


@dataclass(slots=True)
class _Scope:
    """What a bracket opened."""

    variable: str = ""
    """The variable that a macro binds inside, if it is a macro's."""
    repeats: bool = False
    """Whether it is the body of a `map`."""
    uses: int = 0
    pluses: int = 0


def read(words: Sequence[Token]) -> Reading:
    """Finds the references among the words of an expression, leaving out what macros bind."""
    scopes = [_Scope()]
    bound: dict[str, list[_Scope]] = {}
    copies = joins = 1
    macros = depth = deepest = repeated_joins = 0
    references: list[Reference] = []
    position = 0
    while position < len(words):
        word = words[position]
        if word.kind is TokenKind.SIGN:
            if word.text in OPENING:
                opened = _scope(words, position)
                scopes.append(opened)
                if opened.variable:
                    bound.setdefault(opened.variable, []).append(opened)
                    macros += 1
                    depth += 1
                    deepest = max(deepest, depth)
                    # The bound variable's own name, right after the bracket, is no use of it.
                    position += 1
            elif word.text in CLOSING and len(scopes) > 1:
                closed = scopes.pop()
                if closed.variable:
                    bound[closed.variable].pop()
                    depth -= 1
                if closed.repeats:
                    copies *= max(1, closed.uses)
                    joins *= 1 + closed.pluses
                else:
                    scopes[-1].pluses += closed.pluses
            elif word.text == "+":
                scopes[-1].pluses += 1
                repeated_joins += depth > 0
        elif word.kind is TokenKind.NAME and not _is_member(words, position) and word.text not in _LITERALS:
            if bound.get(word.text):
                bound[word.text][-1].uses += 1
            elif not _is(words, position + 1, "("):
                path, end = _path(words, position)
                iterated = _is(words, end, ".") and _is(words, end + 2, "(") and words[end + 1].text in _MACROS
                references.append(Reference(path, whole=position == 0 and end == len(words), iterated=iterated))
        position += 1
    return Reading(tuple(references), copies, joins * (1 + scopes[0].pluses), macros, deepest, repeated_joins)


def _scope(words: Sequence[Token], position: int) -> _Scope:
    """Returns the scope that the bracket at `position` opens, with the variable where it is a macro's."""
    if words[position].text != "(" or position < 2 or words[position - 1].text not in _MACROS or not _is_member(words, position - 1):
        return _Scope()
    if not (_is(words, position + 2, ",") and words[position + 1].kind is TokenKind.NAME):
        return _Scope()
    return _Scope(words[position + 1].text, repeats=words[position - 1].text == "map")


def _path(words: Sequence[Token], position: int) -> tuple[Path, int]:
    """Returns the path that begins at `position`, and the position after it."""
    path: list[str | int] = [words[position].text]
    position += 1
    while position < len(words):
        if _is(words, position, ".") and position + 1 < len(words) and words[position + 1].kind is TokenKind.NAME:
            if _is(words, position + 2, "("):
                break
            path.append(words[position + 1].text)
            position += 2
        elif _is(words, position, "[") and _is(words, position + 2, "]"):
            inside = words[position + 1]
            text = _PLAIN_TEXT.fullmatch(inside.text) if inside.kind is TokenKind.TEXT else None
            if text is not None:
                path.append(text.group(2))
            elif inside.kind is TokenKind.NUMBER and inside.text.isdecimal():
                path.append(int(inside.text))
            else:
                break
            position += 3
        else:
            break
    return tuple(path), position


def _is_member(words: Sequence[Token], position: int) -> bool:
    """Tells whether the name at `position` is a field or method of what stands before it."""
    if not _is(words, position - 1, ".") or position < 2:
        return False
    before = words[position - 2]
    return before.kind is not TokenKind.SIGN or before.text in CLOSING


def _is(words: Sequence[Token], position: int, sign: str) -> bool:
    return 0 <= position < len(words) and words[position].kind is TokenKind.SIGN and words[position].text == sign
