"""What the gateway is told at its start."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field
from pydantic_settings import NoDecode, SettingsConfigDict

from parade_chassis.config import ServiceConfig


def _split(value: Any) -> Any:
    return [part for part in value.replace(",", " ").split() if part] if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
"""Several names in one setting, with commas or spaces between them."""


class Config(ServiceConfig):
    """The gateway's settings."""

    model_config = SettingsConfigDict(env_prefix="PARADE_GATEWAY_")

    rest_listen: str = Field(default="127.0.0.1:8080", pattern=r"^\S+:\d{1,5}$")
    """Where REST is served: `host:port`. In plain HTTP on the loopback interface; anywhere else over TLS with the service's certificate."""
    agent_manager: str = ""
    """Where the agent manager is: `host:port`. It says whose an API key is. Calls to a service that is nowhere fail with UNAVAILABLE."""
    dispatcher: str = ""
    """Where the dispatcher is; with several replicas `host:port,host:port`."""
    scheduler: str = ""
    """Where the scheduler is."""
    cors_origins: Names = ()
    """The origins, for example `https://console.example.com`, whose pages may call the gateway; none by default."""
    hosts: Names = ()
    """Further names under which the gateway may be asked for, beside `localhost` and loopback addresses."""
    artifacts: Path | None = None
    """The folder of the artifacts. Without one, artifacts are refused."""
    artifact_limit: int = Field(default=1024**3, ge=1)
    """How many bytes one artifact may have."""
    artifact_retention: float = Field(default=7 * 86400.0, gt=0)
    """Seconds that an artifact is kept after it was last stored."""
