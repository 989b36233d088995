"""What a service is told at its start: typed, from the environment, checked once, never changed."""

import os
import sys
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from parade.wire.identity import DEFAULT_DOMAIN


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
        known = {f"{prefix}{name}".upper() for name in cls.model_fields}
        unknown = sorted(key for key in os.environ if key.upper().startswith(prefix.upper()) and key.upper() not in known)
        try:
            config = cls()
        except ValidationError as error:
            faults = [f"{prefix}{'_'.join(map(str, item['loc']))}".upper() + f": {item['msg']}" for item in error.errors()]
        except SettingsError as error:  # a setting that is to be JSON and is none
            faults = [str(error)]
        else:
            if not unknown:
                return config
            faults = []
        faults.extend(f"{key}: there is no such setting" for key in unknown)
        sys.stderr.write("The configuration is not usable:\n" + "".join(f"  {fault}\n" for fault in faults))
        sys.exit(2)
