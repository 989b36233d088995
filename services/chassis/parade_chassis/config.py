"""What a service is told at its start: typed, from the environment, checked once, never changed.

A setting that may hold a password can be given by a file too, as images of databases take it: `PARADE_<SERVICE>_DATABASE_URL_FILE` names
one with the value in it. So it stands in no environment, which whoever looks at the process can read.
"""

import math
import os
import re
import sys
from collections.abc import Container
from pathlib import Path
from typing import Any, Final, Literal, Self
from urllib.parse import unquote

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from parade.wire.identity import DEFAULT_DOMAIN
from parade.wire.redaction import remember

SECRETS: Final = frozenset({"database_url"})
"""The settings that may hold a password, of any service."""
FILE: Final = "_file"
"""What their names end with where a file holds the value."""

_PASSWORD: Final = re.compile(r"://[^/?#:@]*:([^/?#]+)@")


class ServiceConfig(BaseSettings):
    """What every service is told. A service's own config derives from this and sets `env_prefix` to `PARADE_<SERVICE>_`."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", env_ignore_empty=True)

    listen: str = "127.0.0.1:0"
    """Where the service listens, with mutual TLS: `host:port`."""
    health_listen: str = ""
    """Where health alone is served without TLS, for the probes of Kubernetes; empty for nowhere."""
    domain: str = DEFAULT_DOMAIN
    """The trust domain: the first part of every SPIFFE id of this mesh."""
    trust_bundle: Path
    """The roots to trust, PEM."""
    certificate: Path
    """The service's certificate chain, PEM. It is taken up anew when the file changes."""
    private_key: Path
    """The certificate's key, PEM."""
    monitor: str = ""
    """Where logs, traces and metrics go: `host:port` of the monitor; empty for nowhere."""
    instance_id: str = Field(default_factory=lambda: f"{os.uname().nodename}-{os.getpid()}")
    """Which replica this is."""
    log_format: Literal["console", "json"] = "json"
    """How log lines look on standard error."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The least grave log record that is written."""
    drain_timeout: float = Field(default=10.0, ge=0, le=3600)
    """Seconds that requests under way may still take after SIGTERM."""

    @classmethod
    def load(cls) -> Self:
        """Reads the configuration from the environment, or says on standard error what is wrong with it and exits with status 2."""
        prefix = str(cls.model_config["env_prefix"])
        known = {f"{prefix}{name}".upper() for name in (*cls.model_fields, *(f"{secret}{FILE}" for secret in SECRETS))}
        unknown = sorted(key for key in os.environ if key.upper().startswith(prefix.upper()) and key.upper() not in known)
        try:
            config = cls(**_from_files(prefix, cls.model_fields))
        except _FileError as error:
            faults = [str(error)]
        except ValidationError as error:
            faults = [f"{prefix}{'_'.join(map(str, item['loc']))}".upper() + f": {item['msg']}" for item in error.errors()]
        except SettingsError as error:  # a setting that is to be JSON and is none
            faults = [str(error)]
        else:
            if not unknown:
                for secret in SECRETS & cls.model_fields.keys():
                    remember(_passwords(getattr(config, secret)), math.inf)
                return config
            faults = []
        faults.extend(f"{key}: there is no such setting" for key in unknown)
        sys.stderr.write("The configuration is not usable:\n" + "".join(f"  {fault}\n" for fault in faults))
        sys.exit(2)


class _FileError(Exception):
    """A file that a setting is to come from cannot be used; the text says which, and nothing of what is in it."""


def _from_files(prefix: str, fields: Container[str]) -> dict[str, Any]:
    """Returns the settings whose values stand in files."""
    found: dict[str, Any] = {}
    given = {key.upper(): value for key, value in os.environ.items()}
    for secret in SECRETS:
        variable = f"{prefix}{secret}".upper()
        path = given.get(variable + FILE.upper(), "")
        if not path or secret not in fields:
            continue
        if given.get(variable):
            raise _FileError(f"{variable}: give it or {variable}{FILE.upper()}, not both")
        try:
            value = Path(path).read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise _FileError(f"{variable}{FILE.upper()}: {path} cannot be read: {reason}") from None
        if not value:
            raise _FileError(f"{variable}{FILE.upper()}: {path} is empty")
        found[secret] = value
    return found


def _passwords(url: str) -> list[str]:
    """Returns the password of a URL as it stands there and as it is meant; nothing where it has none."""
    written = _PASSWORD.search(url)
    return [] if written is None else list({written[1], unquote(written[1])})
