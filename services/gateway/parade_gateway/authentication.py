"""Who may come in: holders of the API key. It lies in a file of its own, is compared in constant time and is never written to a log."""

import hmac
import os
import secrets
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

from parade.wire.errors import ParadeError, Reason
from parade.wire.identity import Identity
from parade_gateway.errors import HttpError

KEY_NAME = "api-key"
"""The client's name that requests with the key are made under."""
PREFIX = "pk_"
_SCHEME = "bearer "
_LEAST_LENGTH = 20


class ApiKey:
    """The key, kept as its hash."""

    def __init__(self, key: str, identity: Identity) -> None:
        """Takes the key and who its holder is."""
        self._digest = sha256(key.encode()).digest()
        self.identity = identity

    def authenticate(self, headers: Mapping[str, str]) -> Identity:
        """Returns who a request comes from.

        Args:
            headers: The request's headers, of which `Authorization` or `x-api-key` holds the key.

        Raises:
            HttpError: 401 where there is no key or a wrong one.
        """
        shown = headers.get("authorization", "")
        key = shown[len(_SCHEME) :].strip() if shown.lower().startswith(_SCHEME) else headers.get("x-api-key", "").strip()
        if not key:
            raise _refusal("show the API key, as `Authorization: Bearer pk_…` or `x-api-key: pk_…`", 'Bearer realm="parade"')
        if not hmac.compare_digest(sha256(key.encode()).digest(), self._digest):
            raise _refusal("this API key is not valid", 'Bearer realm="parade", error="invalid_token"')
        return self.identity


def read_or_make(path: Path) -> str:
    """Returns the key in a file, which is made with a new key, readable by its owner alone, where it does not exist.

    Raises:
        ParadeError: FAILED_PRECONDITION where what the file holds is no key.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        key = path.read_text().strip()
        if not key.startswith(PREFIX) or len(key) < _LEAST_LENGTH:
            raise ParadeError(Reason.FAILED_PRECONDITION, f"{path} holds no API key; delete it, and a new one is made") from None
        return key
    key = PREFIX + secrets.token_urlsafe(32)
    with os.fdopen(descriptor, "w") as file:
        file.write(key + "\n")
        file.flush()
        os.fsync(file.fileno())
    return key


def _refusal(message: str, challenge: str) -> HttpError:
    return HttpError(401, Reason.UNAUTHENTICATED, message, {"www-authenticate": challenge})
