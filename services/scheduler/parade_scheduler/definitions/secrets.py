"""The secrets of namespaces: files of a folder, `<namespace>/<name>`, read when a step needs them, and variables of the environment.

The files lie as Kubernetes mounts them: one file a secret, behind symbolic links that change when the secret does. What was read is kept
for `FRESH` seconds, in memory alone, so that a new value is taken up without a restart, and a thousand tasks at once do not read a file a
thousand times. No value goes into a log, an error or a `repr`.

Of the environment only what is named `PARADE_SECRET_<namespace>_<name>` is a secret, both parts as they are written in the workflow: a
namespace has no underscore, so no two secrets have one name. It is taken at the start and out of the process's environment, which what the
process starts would be given too. A file goes before a variable.
"""

import os
import re
import stat
from collections.abc import Iterator, Mapping, MutableMapping
from pathlib import Path
from typing import Final

from parade.wire.errors import ParadeError, Reason
from parade.wire.redaction import remember
from parade_chassis.clock import Clock

FRESH: Final = 2.0
"""Seconds for which a value is used before its file is read again."""
MAX_BYTES: Final = 64 * 1024
"""How large a secret may be."""
CAPACITY: Final = 1_024
"""How many values are kept."""
SETTING: Final = "PARADE_SCHEDULER_SECRETS"
"""What names the folder; messages say it in place of the path."""
VARIABLE: Final = "PARADE_SECRET_"
"""What the variables begin with that hold a secret."""

_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,252}")
"""What may follow `secrets.`, and the keys of Kubernetes besides, which an expression writes `secrets["db-password"]`."""
_NAMESPACE: Final = re.compile(r"[a-z][a-z0-9-]{0,39}")
_ATTEMPTS: Final = 3
"""How often a file is looked for: while Kubernetes changes a secret, what the links led to a moment ago is gone."""


class Secrets:
    """The secrets of all namespaces."""

    def __init__(self, folder: Path | None, clock: Clock, variables: Mapping[str, str] | None = None) -> None:
        """Takes the folder, None where there is none, the time, and what `taken_from` has given."""
        self._folder = folder
        self._clock = clock
        self._variables = dict(variables or {})
        self._kept: dict[tuple[str, str], tuple[str, float]] = {}
        """Values, and when each was read."""

    def of(self, namespace: str) -> Mapping[str, str]:
        """Returns the secrets of a namespace by name. They are read when they are looked at; which there are is not told."""
        return _OfNamespace(self, namespace)

    def read(self, namespace: str, name: str) -> str:
        """Returns a secret as it is now, or was within the last `FRESH` seconds.

        The few kilobytes of a local file are read in place: a decision cannot wait.

        Raises:
            ParadeError: INVALID_ARGUMENTS, where there is none, or its file is no secret.
        """
        now, key = self._clock.monotonic(), (namespace, name)
        kept = self._kept.get(key)
        if kept is not None and now - kept[1] < FRESH:
            return kept[0]
        self._kept.pop(key, None)
        try:
            value = self._value(namespace, name)
        except _NoSecretError as error:
            message = f"the namespace `{namespace}` has no secret `{name}` that could be used: {error}"
            raise ParadeError(Reason.INVALID_ARGUMENTS, message) from None
        if len(self._kept) >= CAPACITY:
            self._kept.clear()
        self._kept[key] = (value, now)
        # Whatever else goes wrong with it here is written down without it.
        remember((value,))
        return value

    def _value(self, namespace: str, name: str) -> str:
        if not _NAME.fullmatch(name) or not _NAMESPACE.fullmatch(namespace):
            raise _NoSecretError("this is no name of a secret")
        variable = f"{namespace}_{name}"
        if variable in self._variables and (self._folder is None or not os.path.lexists(self._folder / namespace / name)):
            return _text(self._variables[variable].encode(errors="surrogateescape"))
        if self._folder is None:
            raise _NoSecretError(f"there is no folder of secrets, {SETTING} is not set, and there is no variable {VARIABLE}{variable}")
        attempts_left = _ATTEMPTS
        while True:
            try:
                return _text(_content(_found(self._folder, namespace, name)))
            except (FileNotFoundError, NotADirectoryError):
                attempts_left -= 1
                if not attempts_left:
                    missing = (
                        f"the folder that {SETTING} names has no file `{namespace}/{name}`, and there is no variable {VARIABLE}{variable}"
                    )
                    raise _NoSecretError(missing) from None
            except (OSError, RuntimeError) as error:  # the latter for links that go in circles
                words = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else "its links go in circles"
                raise _NoSecretError(f"the file `{namespace}/{name}` in the folder that {SETTING} names cannot be read: {words}") from None

    def __repr__(self) -> str:
        """Shows nothing of what it knows."""
        return "Secrets()"


def taken_from(environment: MutableMapping[str, str]) -> Mapping[str, str]:
    """Takes the secrets out of an environment, by `<namespace>_<name>`."""
    names = [name for name in environment if name.startswith(VARIABLE)]
    return {name.removeprefix(VARIABLE): environment.pop(name) for name in names}


class _OfNamespace(Mapping[str, str]):
    """The secrets of one namespace."""

    __slots__ = ("_namespace", "_secrets")

    def __init__(self, secrets: Secrets, namespace: str) -> None:
        self._secrets = secrets
        self._namespace = namespace

    def __getitem__(self, name: str) -> str:
        return self._secrets.read(self._namespace, name)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0

    def __repr__(self) -> str:
        return f"<the secrets of {self._namespace}>"


class _NoSecretError(Exception):
    """A secret that cannot be had; its text says why, without the value or the path of the folder."""


def _found(folder: Path, namespace: str, name: str) -> Path:
    """Returns the file of a secret, every link followed. None may lead out of the folder, or from one namespace into another."""
    root = folder.resolve(strict=True)
    own = (root / namespace).resolve(strict=True)
    file = (own / name).resolve(strict=True)
    if not own.is_relative_to(root) or own == root or not file.is_relative_to(own):
        raise _NoSecretError("its link leads out of the namespace's folder")
    return file


def _content(file: Path) -> bytes:
    with open(file, "rb", opener=_opened) as opened:  # a path's own `open` takes no opener
        if not stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
            raise _NoSecretError("it is not a file")
        return opened.read(MAX_BYTES + 1)


def _opened(path: str, flags: int) -> int:
    # What is no file must not block: a pipe would wait for its writer.
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOFOLLOW)


def _text(content: bytes) -> str:
    if len(content) > MAX_BYTES:
        raise _NoSecretError(f"it is larger than {MAX_BYTES // 1024} KiB")
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise _NoSecretError("it is not UTF-8") from None
    text = text[:-2] if text.endswith("\r\n") else text.removesuffix("\n")
    if not text:
        raise _NoSecretError("it is empty")  # or is being written just now
    return text
