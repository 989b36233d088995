"""What the gateway is told at its start."""

from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from parade.wire.web import secure
from parade_chassis.config import ServiceConfig
from parade_chassis.quotas import Given, Quotas
from parade_gateway.quotas import GatewayLimits


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
    quotas: Given[GatewayLimits] = Field(default_factory=dict)
    """What each namespace may have, as JSON by namespace (see `parade_chassis.quotas`): `requests`, `artifacts`, `artifact_bytes`."""
    oidc_issuer: str = Field(default="", max_length=255)
    """The URL of the OpenID Connect issuer that people log in at, exactly as it calls itself; nobody logs in where it is not set."""
    oidc_audience: str = Field(default="", max_length=255)
    """Whom its tokens must be meant for: what it calls this mesh in `aud`, or the client id where it makes id tokens alone."""
    oidc_client_id: str = Field(default="", max_length=255)
    """As which of its clients `parade login` comes: a public one, for programs on people's machines."""
    oidc_scopes: str = Field(default="openid offline_access", max_length=255)
    """What `parade login` asks for, with spaces between."""

    @field_validator("oidc_issuer")
    @classmethod
    def _read_by_nobody_else(cls, issuer: str) -> str:
        if issuer and (not secure(issuer) or "#" in issuer or "?" in issuer):
            raise ValueError("must be an https:// URL, or one of this machine")
        return issuer

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if bool(self.oidc_issuer) != bool(self.oidc_audience) or (self.oidc_client_id and not self.oidc_issuer):
            raise ValueError("oidc_issuer and oidc_audience go together, and oidc_client_id needs them")
        return self

    def limits(self) -> Quotas[GatewayLimits]:
        """Returns what each namespace may have."""
        return Quotas("gateway", self.quotas, GatewayLimits())

    def login(self) -> dict[str, str] | None:
        """Returns what `parade login` must know; None where nobody logs in by it."""
        if not self.oidc_client_id:
            return None
        return {"issuer": self.oidc_issuer, "audience": self.oidc_audience, "clientId": self.oidc_client_id, "scopes": self.oidc_scopes}
