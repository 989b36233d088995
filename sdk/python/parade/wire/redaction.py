"""Takes secrets out of texts before they leave a process: values that are known, and what has the form of a credential.

Values come from two places. A call says which of its arguments are secrets (`CallOptions.secrets`): whatever is said of that call is
`masked` with them, however short they are. And a process knows some for a while (`remember`): what it was called with lately, and the
passwords that it was started with. Logs and spans, in which anything may be quoted, are `redacted` with those. Forms, as `scrubbed` finds
them, need no value: the join tokens and API keys of Parade, the password of a URL, what follows `Bearer`, a private key.

It is a net below the rule that no secret is written into a text, not the rule itself: a value that a function has changed beyond the
encodings looked for here is not recognized.
"""

import base64
import json
import math
import re
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote

import orjson

from parade.wire.errors import ParadeError, Violation

MASK: Final = "***"
"""What stands in place of a secret."""
PIECE: Final = 12
"""The shortest piece of a secret, in characters, that is taken out where a text has shortened what it quotes."""
SHORTEST: Final = 8
"""The fewest characters of a secret that is looked for where nothing says that it was quoted, and of the encodings of any."""
LIFETIME: Final = 3600.0
"""Seconds for which a process knows the secret of a call, since it last heard it."""
LONGEST_ENCODED: Final = 4096
"""The most characters of a secret that is looked for in encodings too: to make them all takes milliseconds for each kilobyte."""
ROOM: Final = 64 * 1024
"""Characters of secrets that a process knows at once; those heard longest ago give way."""
OURS: Final = frozenset(
    {
        "approval",
        "approver",
        "attempts",
        "call_id",
        "cancellation",
        "cause",
        "exception_type",
        "function",
        "grpc_code",
        "instance",
        "limit",
        "not_sent",
        "retry_after",
    }
)
"""The facts of a failure that nobody's words are in. A short secret may look like one of them."""

_BLOCK: Final = PIECE // 2
"""Characters by which pieces are found: a piece holds at least one whole block of its secret, wherever it begins."""
_HINTS: Final = ("parade_", "pk_", "://", "earer", "EARER", "asic", "PRIVATE KEY")
"""One of these is in every text that `_CREDENTIAL` finds something in. To look for them takes a tenth of what the search does."""
_CREDENTIAL: Final = re.compile(
    r"(?P<token>parade_join_)[A-Za-z0-9_-]{16,}"
    r"|(?P<key>parade_[0-9A-Za-z]{10}_|pk_)[0-9A-Za-z_-]{20,}"
    r"|(?P<user>://[^\s/?#@:]*:)[^\s/?#]+(?=@)"
    r"|(?P<scheme>\b(?:[Bb]earer|BEARER|[Bb]asic)\s+)(?:(?=[A-Za-z._~+/=-]{0,200}\d)[\w.~+/=-]{8,}|[\w.~+/=-]{24,})"
    r"|(?P<begin>-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----)[^-]*(?:-----END [A-Z ]{0,20}PRIVATE KEY-----)?"
)


class Mask:
    """What to take out: secrets, as they are and as texts quote and encode them."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        """Takes the first secrets."""
        self._short: set[tuple[str, str]] = set()
        """Secrets and those of their forms that are too short to have pieces."""
        self._blocks: dict[str, list[tuple[str, str]]] = {}
        """Secrets and their forms, by the blocks of these."""
        for secret in secrets:
            self.add(secret)

    def add(self, secret: str) -> None:
        """Takes one more secret, which it does not have. An empty text is none."""
        for form in _forms(secret) if secret else ():
            if len(form) < PIECE:
                self._short.add((secret, form))
            else:
                for block in _blocks(form):
                    self._blocks.setdefault(block, []).append((secret, form))

    def discard(self, secret: str) -> None:
        """Looks for a secret no more."""
        for form in _forms(secret):
            self._short.discard((secret, form))
            for block in _blocks(form):
                left = [one for one in self._blocks.get(block, ()) if one[0] != secret]
                if left:
                    self._blocks[block] = left
                else:
                    self._blocks.pop(block, None)

    def applied(self, text: str) -> str:
        """Returns a text without the secrets, and without their longer pieces."""
        parts: list[str] = []
        end = 0
        for start, stop in sorted(self._places(text)):
            if start > end or not parts:
                parts += (text[end:start], MASK)
            end = max(end, stop)
        return "".join((*parts, text[end:])) if parts else text

    def _places(self, text: str) -> Iterator[tuple[int, int]]:
        for _, form in self._short:
            start = text.find(form)
            while start >= 0:
                yield start, start + len(form)
                start = text.find(form, start + 1)
        blocks = self._blocks
        if not blocks:
            return
        last = len(text) - PIECE
        for place in range(len(text) - _BLOCK + 1):
            for _, form in blocks.get(text[place : place + _BLOCK], ()):
                for start in range(max(0, place - _BLOCK), min(place, last) + 1):
                    if text[start : start + PIECE] in form:
                        yield start, start + PIECE


class Known:
    """The secrets that a process knows, each for a while. Usable in any thread."""

    def __init__(self, room: int = ROOM, now: Callable[[], float] = time.monotonic) -> None:
        """Starts with none.

        Args:
            room: How many characters they may have together.
            now: The time, in seconds.
        """
        self._room = room
        self._now = now
        self._until: dict[str, float] = {}
        """Until when each is known, those heard last at the end."""
        self._size = 0
        self._mask = Mask()
        self._changing = threading.Lock()

    def add(self, secrets: Iterable[str], seconds: float = LIFETIME) -> None:
        """Takes secrets for so many seconds. Short ones are passed over: they would be found in texts that say something else."""
        with self._changing:
            until = self._now() + seconds
            for secret in secrets:
                if len(secret) < SHORTEST:
                    continue
                known = self._until.pop(secret, None)
                if known is None:
                    self._mask.add(secret)
                    self._size += len(secret)
                self._until[secret] = until if known is None else max(known, until)
            while self._size > self._room and len(self._until) > 1:
                # Those that the process was started with stay.
                oldest = next((secret for secret, end in self._until.items() if end != math.inf), next(iter(self._until)))
                self._forget(oldest)

    def masked(self, text: str) -> str:
        """Returns a text without the secrets that are known now."""
        if not self._until:
            return text
        with self._changing:
            now = self._now()
            for secret in [secret for secret, until in self._until.items() if until <= now]:
                self._forget(secret)
            return self._mask.applied(text)

    def __len__(self) -> int:
        """Returns how many there are."""
        return len(self._until)

    def _forget(self, secret: str) -> None:
        del self._until[secret]
        self._size -= len(secret)
        self._mask.discard(secret)

    def __repr__(self) -> str:
        """Shows nothing of what it knows."""
        return f"Known({len(self._until)})"


_known: Final = Known()
"""Of this process: its logs and its telemetry have many makers, and what one part of it knows none of the others may say."""


def remember(secrets: Collection[str], seconds: float = LIFETIME) -> None:
    """Lets this process take secrets out of its logs and spans, for so many seconds."""
    if secrets:
        _known.add(secrets, seconds)


def masked(text: str, secrets: Collection[str]) -> str:
    """Returns a text without these secrets, as they are or as it quotes them, and without their longer pieces."""
    return Mask(set(secrets)).applied(text) if secrets and text else text


def scrubbed(text: str) -> str:
    """Returns a text without what has the form of a credential."""
    for hint in _HINTS:
        if hint in text:
            return _CREDENTIAL.sub(_without_credential, text)
    return text


def redacted(text: str) -> str:
    """Returns a text without the secrets that this process knows, and without what has the form of a credential."""
    return scrubbed(_known.masked(text))


def rewritten(value: Any, rewrite: Callable[[str], str]) -> Any:
    """Returns a field of a log record with its texts rewritten: those within lists and mappings too, and anything else as text."""
    if isinstance(value, str):
        return rewrite(value)
    if value is None or isinstance(value, int | float):
        return value
    if isinstance(value, Mapping):
        return {rewrite(str(name)): rewritten(item, rewrite) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [rewritten(item, rewrite) for item in value]
    return rewrite(str(value))


def masked_error(error: ParadeError, secrets: Collection[str]) -> ParadeError:
    """Returns an error in whose words none of these secrets is left; the error itself where there are no secrets."""
    if not secrets:
        return error
    mask = Mask(set(secrets)).applied
    return _rewritten_error(error, mask)


def redacted_error(error: ParadeError, secrets: Collection[str]) -> ParadeError:
    """Returns an error in whose words neither these secrets are left nor others that this process knows."""
    if not secrets and not _known:
        return error
    mask = Mask(set(secrets)).applied
    return _rewritten_error(error, lambda text: redacted(mask(text)))


def _rewritten_error(error: ParadeError, rewrite: Callable[[str], str]) -> ParadeError:
    violations = [Violation(rewrite(one.field), rewrite(one.description), one.line) for one in error.violations]
    metadata = {name: value if name in OURS else rewrite(value) for name, value in error.metadata.items()}
    made = ParadeError(error.reason, rewrite(error.message), violations=violations, metadata=metadata, retryable=error.retryable)
    made.__cause__ = error.__cause__
    return made


def _without_credential(match: re.Match[str]) -> str:
    return f"{match[match.lastgroup or 0]}{MASK}"


def _forms(secret: str) -> set[str]:
    """Returns a secret as it is, and as JSON, Python, URLs and base64 write it."""
    try:
        data = secret.encode()
    except UnicodeEncodeError:  # half a surrogate pair: nothing but Python writes it
        return {secret, repr(secret)[1:-1], ascii(secret)[1:-1]}
    text = orjson.dumps(secret).decode()[1:-1]
    if len(secret) > LONGEST_ENCODED:
        return {secret, text}
    plain = json.dumps(secret)[1:-1]
    # JSON within a text of JSON too, as a failure that quotes an answer has it.
    within = {orjson.dumps(form).decode()[1:-1] for form in (text, plain)}
    url = quote(secret, safe="")
    encodings = {url, url.replace("%2F", "/"), url.replace("%20", "+"), *_base64(data)}
    written = {secret, repr(secret)[1:-1], ascii(secret)[1:-1], text, plain, *within}
    return written | {form for form in encodings if len(form) >= SHORTEST}


def _base64(data: bytes) -> Iterator[str]:
    """Yields what is certain of the base64 of a text that has these bytes in it: it depends on how many come before, by threes."""
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + data).decode().rstrip("=")
        certain = encoded[(0, 2, 3)[before] : len(encoded) - ((before + len(data)) % 3 != 0)]
        yield certain
        yield certain.replace("+", "-").replace("/", "_")


def _blocks(form: str) -> set[str]:
    return {form[start : start + _BLOCK] for start in range(0, len(form) - _BLOCK + 1, _BLOCK)}
