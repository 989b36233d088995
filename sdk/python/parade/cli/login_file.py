"""The login of this machine's user: what is kept of it, and where. Knows no issuer."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Self

import typer

from parade.wire.errors import ParadeError, Reason

FILE_NAME = "login.json"


@dataclass(frozen=True, slots=True)
class Login:
    """Who has logged in, and what goes on from there. Everything is text, as the file has it."""

    gateway: str
    """The URL of the gateway that it is for."""
    issuer: str
    client_id: str
    audience: str
    scopes: str
    token: str
    """What is shown to the gateway."""
    refresh_token: str
    """What the next token is asked for with; empty where the issuer gives none."""

    def __repr__(self) -> str:
        """Returns a text without the tokens."""
        return f"Login(gateway={self.gateway!r}, issuer={self.issuer!r})"

    @classmethod
    def read(cls) -> Self:
        """Reads the login that there is.

        Raises:
            ParadeError: UNAUTHENTICATED where there is none.
        """
        try:
            content = json.loads(path().read_bytes())
            return cls(**{field.name: str(content[field.name]) for field in fields(cls)})
        except FileNotFoundError as error:
            raise ParadeError(Reason.UNAUTHENTICATED, "nobody is logged in here: `parade login`") from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ParadeError(Reason.UNAUTHENTICATED, f"{path()} cannot be read; log in again: `parade login`") from error

    def write(self) -> None:
        """Keeps it in place of the one before, for this user's eyes alone."""
        from parade.wire.certificates import write_private

        write_private(_made(path().parent) / FILE_NAME, json.dumps(asdict(self), indent=2).encode())


def path() -> Path:
    """Returns where the login is kept."""
    return Path(typer.get_app_dir("parade")) / FILE_NAME


@contextmanager
def alone() -> Iterator[None]:
    """Keeps other commands of this user waiting while the block runs: many issuers take each refresh token once."""
    from parade.wire.files import locked

    with locked(_made(path().parent)):
        yield


def forget() -> None:
    """Removes the login."""
    path().unlink(missing_ok=True)


def _made(folder: Path) -> Path:
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_mode & 0o022:
        raise ParadeError(Reason.FAILED_PRECONDITION, f"others may write into {folder}: `chmod go-w {folder}`")
    return folder
