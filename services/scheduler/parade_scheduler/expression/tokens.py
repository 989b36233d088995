"""The words of an expression: enough of CEL's grammar to see what it refers to and where it ends. CEL itself judges whether it is right.

Source of the grammar: https://github.com/google/cel-spec/blob/master/doc/langdef.md#syntax.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

_LEXER: Final = re.compile(
    r"""
      (?P<space>\s+|//[^\n]*)
    | (?P<text>[rRbB]{0,2}(?:
        \"\"\"(?:\\.|[^\\])*?(?:\"\"\"|\\?\Z)|'''(?:\\.|[^\\])*?(?:'''|\\?\Z)|"(?:\\.|[^"\\\n])*+"?|'(?:\\.|[^'\\\n])*+'?
      ))
    | (?P<name>[A-Za-z_][A-Za-z0-9_]*|`[^`\n]*`)
    | (?P<number>0[xX][0-9a-fA-F]+[uU]?|\d+(?:\.\d+)?(?:[eE][+-]?\d+)?[uU]?)
    | (?P<sign>&&|\|\||[=!<>]=|.)
    """,
    re.VERBOSE | re.DOTALL,
)
"""A text that is not closed goes to the end of its line, or of everything: CEL refuses it, and to look for its end again and again would
take time in the square of the length."""

OPENING: Final = {"(": ")", "[": "]", "{": "}"}
CLOSING: Final = frozenset(OPENING.values())


class TokenKind(Enum):
    """What a token is."""

    TEXT = auto()
    NAME = auto()
    NUMBER = auto()
    SIGN = auto()


@dataclass(frozen=True, slots=True)
class Token:
    """One word of an expression."""

    kind: TokenKind
    text: str
    """As it is written; a name without its backticks."""
    start: int
    """Where it begins, counted from 0."""


_KINDS: Final = {"text": TokenKind.TEXT, "name": TokenKind.NAME, "number": TokenKind.NUMBER, "sign": TokenKind.SIGN}


def tokens(text: str, start: int = 0) -> Iterator[Token]:
    """Yields the words of an expression from `start` on, without white space and comments."""
    for match in _LEXER.finditer(text, start):
        kind = match.lastgroup
        if kind is not None and kind != "space":
            yield Token(_KINDS[kind], match.group().strip("`") if kind == "name" else match.group(), match.start())


def end_of_expression(text: str, start: int) -> int:
    """Returns where the `}}` stands that ends the expression beginning at `start`; -1 where there is none.

    A `}}` within a text or closing braces that the expression opened does not end it.
    """
    open_braces = 0
    previous = -2
    for token in tokens(text, start):
        if token.text == "{":
            open_braces += 1
        elif token.text == "}":
            if open_braces:
                open_braces -= 1
            elif token.start == previous + 1:
                return previous
            else:
                previous = token.start
    return -1
