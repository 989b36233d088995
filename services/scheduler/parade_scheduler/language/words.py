"""The small words of the language: names, texts, numbers and durations, each read from a node or noted as a fault."""

from dataclasses import dataclass

from parade_scheduler.language.duration import seconds
from parade_scheduler.language.faults import Faults
from parade_scheduler.language.tree import Node
from parade_scheduler.language.vocabulary import MAX_TEXT, Name, Vocabulary


@dataclass(frozen=True, slots=True)
class Words:
    """Reads small words. What is wrong is noted, and a value that lets the reading go on is returned."""

    faults: Faults

    def known(self, node: Node, path: str, line: int, vocabulary: Vocabulary) -> dict[str, Node]:
        """Returns the values of a mapping by their words, without those that the language does not have.

        Args:
            node: The mapping.
            path: Where it stands.
            line: The line in which a word that is missing is noted.
            vocabulary: The words that it may have.
        """
        words = vocabulary.words
        if node.entries is None:
            self.faults.add(
                path, node.line, f"a mapping with {', '.join(f'`{word}`' for word in sorted(words))} stands here, not {node.kind}"
            )
            return {}
        found: dict[str, Node] = {}
        for word, (key, value) in node.entries.items():
            if word in words:
                found[word] = value
            else:
                self.faults.unknown_word(f"{path}.{word}".lstrip("."), key.line, word, words)
        for word, meaning in words.items():
            if meaning.required and word not in node.entries:
                self.faults.add(path or word, line, f"{vocabulary.what} needs `{word}`", f"add `{word}`: {meaning.description.rstrip('.')}")
            if meaning.beside and word in found and meaning.beside not in found:
                self.faults.add(f"{path}.{word}", found[word].line, f"`{word}` has a meaning only with `{meaning.beside}`")
        return found

    def text(self, node: Node | None, path: str) -> str:
        """Returns a text; an empty one where there is none."""
        if node is None or (node.scalar is None and node.items is None and node.entries is None):
            return ""
        if not isinstance(node.scalar, str):
            self.faults.add(path, node.line, f"a text stands here, not {node.kind}", "" if node.scalar is None else "put it in quotes")
            return ""
        if "\0" in node.scalar:
            self.faults.add(path, node.line, "this text has a NUL character")
        if len(node.scalar) > MAX_TEXT:
            self.faults.add(path, node.line, f"this text has {len(node.scalar):,} characters; at most {MAX_TEXT:,} are kept")
        return node.scalar.strip()

    def name(self, node: Node | None, path: str, name: Name) -> str:
        """Returns a name."""
        if node is None:
            return ""
        if isinstance(node.scalar, str) and name.pattern.fullmatch(node.scalar):
            return node.scalar
        shown = f"`{node.scalar[:60]}`" if isinstance(node.scalar, str) else node.kind
        self.faults.add(path, node.line, f"{shown} is no {name.what}", name.rule)
        return ""

    def boolean(self, node: Node | None, path: str, *, default: bool) -> bool:
        """Returns true or false."""
        if node is None:
            return default
        if not isinstance(node.scalar, bool):
            self.faults.add(path, node.line, f"`true` or `false` stands here, not {node.kind}")
            return default
        return node.scalar

    def whole_number(self, node: Node | None, path: str, default: int, highest: int) -> int:
        """Returns a whole number from 1 to `highest`."""
        if node is None:
            return default
        if isinstance(node.scalar, bool) or not isinstance(node.scalar, int) or not 1 <= node.scalar <= highest:
            self.faults.add(path, node.line, f"a whole number from 1 to {highest:,} stands here, not {node.kind}")
            return default
        return node.scalar

    def number(self, node: Node | None, path: str, default: float, lowest: float, highest: float) -> float:
        """Returns a number."""
        if node is None:
            return default
        if isinstance(node.scalar, bool) or not isinstance(node.scalar, int | float) or not lowest <= node.scalar <= highest:
            self.faults.add(path, node.line, f"a number from {lowest:g} to {highest:g} stands here, not {node.kind}")
            return default
        return float(node.scalar)

    def duration(self, node: Node | None, path: str) -> float | None:
        """Returns a duration in seconds; None where there is none."""
        if node is None:
            return None
        length = seconds(node.scalar) if isinstance(node.scalar, str) else None
        if length is None or length <= 0:
            shown = f"`{node.scalar[:60]}`" if isinstance(node.scalar, str) else node.kind
            self.faults.add(path, node.line, f"{shown} is no duration", "write it as 500ms, 2s, 5m or 1h, above zero and at most 366d")
            return None
        return length
