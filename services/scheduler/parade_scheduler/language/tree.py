"""A YAML or JSON text as a tree whose every node knows its line. Hostile texts are bounded in size, depth and repetition.

Scalars follow the core schema of YAML 1.2 (https://yaml.org/spec/1.2.2/#103-core-schema), so that `on`, `yes` and `no` are words.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
import yaml

from parade_scheduler.language.faults import Faults

MAX_BYTES: Final = 1024 * 1024
MAX_DEPTH: Final = 64
"""How deep a document may nest. The YAML parser takes time in the square of the depth, so it is stopped there."""
MAX_NODES: Final = 200_000
"""How many nodes a document may have once its aliases are written out."""
MAX_CHARACTERS: Final = 16 * 1024 * 1024
"""How many characters its texts and keys may have then."""

_NULL: Final = frozenset({"", "~", "null", "Null", "NULL"})
_BOOL: Final = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_ON: Final = frozenset({"true", "True"})
_INT: Final = re.compile(r"[-+]?[0-9]{1,20}|0o[0-7]{1,20}|0x[0-9a-fA-F]{1,15}")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]{1,3})?")
_JSON_ESCAPE: Final = re.compile(r"\\(?:u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})|.)", re.DOTALL)
_NO_YAML: Final = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
_YAML_HINT: Final = "a text with `: ` or ` #` in it, or that begins with one of [ ] { } , & * ! | > % @ `, stands in quotes"

Scalar = str | int | float | bool | None


@dataclass(slots=True)
class Node:
    """One value of the document: a scalar, a list or a mapping."""

    line: int
    """Where it begins, counted from 1."""
    text_line: int = 0
    """Where its text begins: the line after, for a block scalar."""
    scalar: Scalar = None
    items: list["Node"] | None = None
    """The items, where it is a list."""
    entries: dict[str, tuple["Node", "Node"]] | None = None
    """Key and value by the key's text, where it is a mapping."""
    size: int = 1
    """How many nodes it is, aliases written out."""
    length: int = 0
    """How many characters its texts and keys have, aliases written out."""

    @property
    def kind(self) -> str:
        """What a message calls it."""
        if self.entries is not None:
            return "a mapping"
        if self.items is not None:
            return "a list"
        if self.scalar is None:
            return "empty"
        return "a text" if isinstance(self.scalar, str) else f"`{orjson.dumps(self.scalar).decode()}`"

    def plain(self) -> Any:
        """Returns the value without its lines."""
        if self.entries is not None:
            return {key: value.plain() for key, (_, value) in self.entries.items()}
        if self.items is not None:
            return [item.plain() for item in self.items]
        return self.scalar


@dataclass(slots=True)
class _Builder:
    """Builds the tree from the parser's events."""

    faults: Faults
    stack: list[Node] = field(default_factory=list)
    keys: list[Node | None] = field(default_factory=list)
    """For each open node, the key that waits for its value."""
    names: list[str | None] = field(default_factory=list)
    """For each open node, its anchor."""
    anchors: dict[str, Node] = field(default_factory=dict)
    documents: int = 0
    line: int = 0
    """The line of the event that was taken last."""
    root: Node | None = None

    def take(self, event: yaml.Event) -> None:
        """Takes the next event."""
        line = self.line = event.start_mark.line + 1 if event.start_mark is not None else 0
        match event:
            case yaml.DocumentStartEvent():
                self.documents += 1
                if self.documents > 1:
                    raise self.faults.error("", line, "there is a second document", "one file holds one workflow")
            case yaml.MappingStartEvent():
                self._open(Node(line, line, entries={}), event)
            case yaml.SequenceStartEvent():
                self._open(Node(line, line, items=[]), event)
            case yaml.ScalarEvent():
                self._scalar(event, line)
            case yaml.AliasEvent():
                self._alias(event, line)
            case yaml.CollectionEndEvent():
                self.keys.pop()
                # The anchor is known only from here on, so a node cannot contain itself.
                self._place(self.stack.pop(), self.names.pop())

    def _open(self, node: Node, event: yaml.CollectionStartEvent) -> None:
        if len(self.stack) >= MAX_DEPTH:
            raise self.faults.error("", node.line, f"the document is nested more than {MAX_DEPTH} deep", "make it flatter")
        self._check_tag(event.tag, node.line)
        self.stack.append(node)
        self.keys.append(None)
        self.names.append(event.anchor)

    def _scalar(self, event: yaml.ScalarEvent, line: int) -> None:
        self._check_tag(event.tag, line)
        plain = not event.style and event.tag is None
        node = Node(line, line + (event.style in ("|", ">")), _plain_scalar(event.value) if plain else event.value)
        if self.stack and self.stack[-1].entries is not None and self.keys[-1] is None:
            node.scalar = event.value  # a key is always a text
        node.length = len(event.value)
        self._place(node, event.anchor)

    def _alias(self, event: yaml.AliasEvent, line: int) -> None:
        target = self.anchors.get(str(event.anchor))
        if target is None:
            raise self.faults.error(
                "",
                line,
                f"there is no anchor `&{event.anchor}` before this alias",
                f"write `&{event.anchor}` where it is first, or put the text in quotes",
            )
        self._place(target, None)

    def _place(self, node: Node, anchor: str | None) -> None:
        if anchor is not None:
            self.anchors[anchor] = node
        if not self.stack:
            self.root = node
            return
        parent = self.stack[-1]
        parent.size += node.size
        parent.length += node.length
        if parent.size > MAX_NODES or parent.length > MAX_CHARACTERS:
            bounds = f"{MAX_NODES:,} values, or {MAX_CHARACTERS:,} characters of text"
            raise self.faults.error("", self.line, f"the document has more than {bounds}, its aliases written out")
        if parent.items is not None:
            parent.items.append(node)
        elif parent.entries is not None:
            self._place_entry(parent.entries, node)

    def _place_entry(self, entries: dict[str, tuple[Node, Node]], node: Node) -> None:
        key = self.keys[-1]
        if key is None:
            if not isinstance(node.scalar, str):
                raise self.faults.error("", node.line, f"a key is a text, this is {node.kind}", "put it in quotes")
            self.keys[-1] = node
            return
        name = str(key.scalar)
        if name in entries:
            path = ".".join(str(open_key.scalar) for open_key in self.keys if open_key is not None)
            self.faults.add(
                path, key.line, f"`{name[:60]}` stands here twice, first in line {entries[name][0].line}", "leave one of them out"
            )
        else:
            entries[name] = (key, node)
        self.keys[-1] = None

    def _check_tag(self, tag: str | None, line: int) -> None:
        if tag is not None and tag not in ("!", "tag:yaml.org,2002:str"):
            raise self.faults.error("", line, f"the tag `{tag[:60]}` is not understood here", "write the value without a tag")


def read(source: str, faults: Faults) -> Node:
    """Reads a text.

    Raises:
        UnreadableError: It is too large or no YAML. Duplicate keys are noted in `faults` and do not end the reading.
    """
    size = len(source.encode("utf-8", "replace"))
    if size > MAX_BYTES:
        raise faults.error("", 1, f"the document has {size / 1024 / 1024:.1f} MiB; at most {MAX_BYTES // 1024 // 1024} MiB are read")
    builder = _Builder(faults)
    try:
        for event in _events(source):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        context = f" {error.context}" if error.context else ""
        raise faults.error("", mark.line + 1 if mark else 0, f"this is no YAML: {error.problem}{context}", _YAML_HINT) from error
    except yaml.reader.ReaderError as error:
        line = source.count("\n", 0, error.position) + 1
        raise faults.error("", line, f"the character #x{int(error.character):04x} may not stand in a document", "leave it out") from error
    if builder.root is None:
        raise faults.error("", 1, "the document is empty", "write `name` and `steps`")
    if builder.root.entries is not None:
        builder.root.entries = _with_on(builder.root.entries)
    return builder.root


def _with_on(entries: dict[str, tuple[Node, Node]]) -> dict[str, tuple[Node, Node]]:
    """Returns the words at the top with `true` read as `on`: a program that follows YAML 1.1 writes `on` so."""
    if "on" in entries:
        return entries
    return {"on" if word in _ON else word: entry for word, entry in entries.items()}


def _events(source: str) -> Iterator[yaml.Event]:
    loader = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
    return yaml.parse(_json_as_yaml(source), Loader=loader)


def _json_as_yaml(source: str) -> str:
    """Returns a JSON text so that YAML reads the same: without tabs, escaped surrogate pairs, and characters that it refuses or folds."""
    if not source.lstrip().startswith("{"):
        return source
    try:
        orjson.loads(source)
    except ValueError:
        return source

    def unescaped(match: re.Match[str]) -> str:
        if match[1] is None:
            return match[0]
        return chr(0x10000 + ((int(match[1], 16) - 0xD800) << 10) + int(match[2], 16) - 0xDC00)

    escaped = _NO_YAML.sub(lambda match: f"\\u{ord(match[0]):04x}", source.replace("\t", " "))
    return _JSON_ESCAPE.sub(unescaped, escaped)


def _plain_scalar(text: str) -> Scalar:
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if _INT.fullmatch(text):
        number = int(text, 0) if text.startswith(("0o", "0x")) else int(text)
        return number if -(2**63) <= number < 2**64 else float(number)
    if _FLOAT.fullmatch(text) and abs(float(text)) < float("inf"):
        return float(text)
    return text
