"""The small words of the language: names, texts, numbers and durations, each read from a node or noted as a fault."""

from collections.abc import Sequence
from dataclasses import dataclass

from parade_scheduler.language.duration import seconds
from parade_scheduler.language.faults import Faults
from parade_scheduler.language.tree import Node
from parade_scheduler.language.vocabulary import Name, Vocabulary
from parade_scheduler.language.vocabulary.names import MAX_LISTED, MAX_TEXT


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
        self._check_choice(node, path, line, vocabulary)
        self._check_neighbours(found, path, vocabulary)
        return found

    def _check_choice(self, node: Node, path: str, line: int, vocabulary: Vocabulary) -> None:
        """Notes where not exactly one of the words stands of which there must be one."""
        entries = node.entries or {}
        chosen = [word for word in vocabulary.one_of if word in entries]
        if vocabulary.one_of and not chosen:
            self.faults.add(path, line, f"{vocabulary.what} needs {_listed(vocabulary.one_of)}", f"add one of them: {_told(vocabulary)}")
        for word in chosen[1:]:
            self.faults.add(
                f"{path}.{word}",
                entries[word][0].line,
                f"`{word}` and `{chosen[0]}` exclude each other",
                f"{vocabulary.what} has exactly one of {_listed(vocabulary.one_of)}",
            )

    def _check_neighbours(self, found: dict[str, Node], path: str, vocabulary: Vocabulary) -> None:
        """Notes words that have no meaning beside those that stand there."""
        undecided = not any(word in found for word in vocabulary.one_of)
        for word, node in found.items():
            meaning = vocabulary.words[word]
            lacks = meaning.beside and not any(other in found for other in meaning.beside)
            if lacks and not (undecided and set(meaning.beside) <= set(vocabulary.one_of)):
                self.faults.add(f"{path}.{word}", node.line, f"`{word}` has a meaning only with {_listed(meaning.beside)}", "leave it out")
            for other in meaning.without:
                if other in found:
                    self.faults.add(f"{path}.{word}", node.line, f"`{word}` and `{other}` exclude each other", "leave one of them out")

    def text(self, node: Node | None, path: str) -> str:
        """Returns a text; an empty one where there is none."""
        if node is None or (node.scalar is None and node.items is None and node.entries is None):
            return ""
        if not isinstance(node.scalar, str):
            self.faults.add(path, node.line, f"a text stands here, not {node.kind}", "" if node.scalar is None else "put it in quotes")
            return ""
        if "\0" in node.scalar:
            self.faults.add(path, node.line, "this text has a NUL character", "leave it out")
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

    def names(self, node: Node | None, path: str, name: Name) -> list[str]:
        """Returns the names of a list, or the one that stands there alone."""
        if node is None:
            return []
        items = [node] if node.items is None else node.items
        if not 1 <= len(items) <= MAX_LISTED:
            self.faults.add(path, node.line, f"1 to {MAX_LISTED} of them stand here, not {len(items):,}")
        return [found for item in items[:MAX_LISTED] if (found := self.name(item, path, name))]

    def choice(self, node: Node | None, path: str, choices: Sequence[str], default: str) -> str:
        """Returns one of some words."""
        if node is None:
            return default
        if node.scalar in choices:
            return str(node.scalar)
        shown = f"`{node.scalar[:60]}`" if isinstance(node.scalar, str) else node.kind
        hint = self.faults.hint(node.scalar, choices) if isinstance(node.scalar, str) else ""
        self.faults.add(path, node.line, f"{_listed(choices)} stands here, not {shown}", hint)
        return default

    def boolean(self, node: Node | None, path: str, *, default: bool) -> bool:
        """Returns true or false."""
        if node is None:
            return default
        if not isinstance(node.scalar, bool):
            self.faults.add(path, node.line, f"`true` or `false` stands here, not {node.kind}")
            return default
        return node.scalar

    def whole_number(self, node: Node | None, path: str, default: int, highest: int, lowest: int = 1) -> int:
        """Returns a whole number."""
        if node is None:
            return default
        if isinstance(node.scalar, bool) or not isinstance(node.scalar, int) or not lowest <= node.scalar <= highest:
            self.faults.add(path, node.line, f"a whole number from {lowest} to {highest:,} stands here, not {node.kind}")
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


def _listed(words: Sequence[str]) -> str:
    """Returns words as a message names a choice of them."""
    shown = [f"`{word}`" for word in words]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} or {shown[-1]}"


def _told(vocabulary: Vocabulary) -> str:
    """Returns what each of the words means of which one must stand there."""
    return "; ".join(f"`{word}`: {vocabulary.words[word].description.rstrip('.')}" for word in vocabulary.one_of)
