"""What an agent's process is told by its environment."""

import os
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from parade.wire.log import LEVELS

DRAIN_TIMEOUT = 10.0
TOKEN_VARIABLE: Final = "PARADE_JOIN_TOKEN"  # noqa: S105  # the variable's name
"""What holds the join token; what an agent starts is not given it."""


class SettingsError(Exception):
    """The environment says something that cannot be used."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What an agent's process is told."""

    listen: str = "127.0.0.1:0"
    """Where it listens, `host:port`; port 0 takes a free one. From `PARADE_AGENT_LISTEN`."""
    advertise: str = ""
    """Where dispatchers reach it, where that differs from `listen`; port 0 stands for the one it got. From `PARADE_AGENT_ADVERTISE`."""
    join_token: str = field(default="", repr=False)
    """The token to enrol with. Where empty, one is made with the client certificate of the mesh file.

    From `PARADE_JOIN_TOKEN`, or from the file that `PARADE_JOIN_TOKEN_FILE` names.
    """
    log_level: str = "info"
    """The least grave log record that is written. From `PARADE_AGENT_LOG_LEVEL`."""
    drain_timeout: float = DRAIN_TIMEOUT
    """Seconds that calls under way may still take once the instance is to leave. From `PARADE_AGENT_DRAIN_TIMEOUT`."""

    @classmethod
    def from_environment(cls) -> Self:
        """Reads the settings.

        Raises:
            SettingsError: A value cannot be used.
        """
        settings = cls(
            listen=os.environ.get("PARADE_AGENT_LISTEN") or cls().listen,
            advertise=os.environ.get("PARADE_AGENT_ADVERTISE", ""),
            join_token=_secret(TOKEN_VARIABLE),
            log_level=os.environ.get("PARADE_AGENT_LOG_LEVEL") or "info",
            drain_timeout=_seconds("PARADE_AGENT_DRAIN_TIMEOUT", DRAIN_TIMEOUT),
        )
        if settings.log_level not in LEVELS:
            raise SettingsError(f"PARADE_AGENT_LOG_LEVEL is {settings.log_level!r}; it must be one of {', '.join(LEVELS)}")
        for variable, address in (("PARADE_AGENT_LISTEN", settings.listen), ("PARADE_AGENT_ADVERTISE", settings.advertise)):
            if address and not address.rpartition(":")[2].isdecimal():
                raise SettingsError(f"{variable} is {address!r}; it must be host:port")
        return settings

    def address(self, port: int) -> str:
        """Returns where dispatchers reach the instance, now that its port is known."""
        if self.advertise:
            host, _, advertised = self.advertise.rpartition(":")
            return f"{host}:{port if advertised == '0' else advertised}"
        host = self.listen.rpartition(":")[0]
        return f"{socket.gethostname() if host in ('0.0.0.0', '[::]') else host}:{port}"  # noqa: S104  # compared, not listened on


def _secret(variable: str) -> str:
    """Returns what a variable holds, or the file that the variable of its name with `_FILE` names."""
    value, path = os.environ.get(variable, ""), os.environ.get(f"{variable}_FILE", "")
    if not path:
        return value
    if value:
        raise SettingsError(f"give {variable} or {variable}_FILE, not both")
    try:
        value = Path(path).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{variable}_FILE names {path}, which cannot be read: {type(error).__name__}") from None
    if not value:
        raise SettingsError(f"{variable}_FILE names {path}, which is empty")
    return value


def _seconds(variable: str, otherwise: float) -> float:
    text = os.environ.get(variable, "")
    if not text:
        return otherwise
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 3600:
        raise SettingsError(f"{variable} is {text!r}; it must be a number of seconds from 0 to 3600")
    return seconds
