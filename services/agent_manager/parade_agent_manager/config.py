"""What the agent_manager is told at its start."""

from pathlib import Path
from typing import Self

from pydantic import Field, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from parade.wire.identity import Identity, Kind
from parade_agent_manager.quotas import AgentLimits
from parade_chassis.config import ServiceConfig
from parade_chassis.quotas import Given


class Config(ServiceConfig):
    """The agent_manager's settings: `PARADE_AGENT_MANAGER_<NAME>`."""

    model_config = SettingsConfigDict(env_prefix="PARADE_AGENT_MANAGER_")

    enrolment_listen: str = ""
    """Where instances enrol, with TLS and without a certificate of theirs: `host:port`; empty for nowhere."""
    database_url: str = Field(repr=False)
    """Where agents are kept: `sqlite:///path` or `postgresql://user:password@host/database`."""
    ca_certificate: Path
    """The authority that signs the certificates of instances, PEM."""
    ca_private_key: Path
    """The authority's key, PEM."""
    certificate_lifetime: float = Field(default=3600, ge=60, le=30 * 24 * 3600)
    """Seconds that an instance's certificate is good. One that has left is remembered as long, so that it cannot come back with one."""
    revocation_retention: float = Field(default=90 * 24 * 3600, ge=3600, le=10 * 366 * 24 * 3600)
    """Seconds that the revocation of an identity is kept: as long as its certificates, which others issue, and its runs last."""
    initial_admin: str = ""
    """The SPIFFE id of a client that is made admin of all namespaces, at a start where nobody is."""
    initial_key_file: Path | None = None
    """Where an API key of that client's is written, for its owner alone. It is made where the file has none that opens anything."""
    heartbeat_interval: float = Field(default=4.0, ge=0.05, le=60)
    """Seconds between two heartbeats of an instance."""
    lease_duration: float = Field(default=8.5, ge=0.2, le=600)
    """Seconds after a heartbeat until an instance that says nothing is LOST."""
    lost_retention: float = Field(default=3600, ge=1)
    """Seconds that a LOST instance is kept."""
    watch_capacity: int = Field(default=8192, ge=1)
    """Changes that may wait for one reader of `WatchAgents`; one that is further behind is sent away."""

    quotas: Given[AgentLimits] = Field(default_factory=dict)
    """What each namespace may have: `agents`, `instances`, `functions`, `join_tokens`; JSON by namespace (see `parade_chassis.quotas`)."""

    @field_validator("initial_admin")
    @classmethod
    def _admin_is_a_client(cls, text: str) -> str:
        identity = Identity.parse(text)
        if text and (identity is None or identity.kind is not Kind.CLIENT):
            raise ValueError("must be a client's SPIFFE id, spiffe://<domain>/ns/<namespace>/client/<name>")
        return text

    @model_validator(mode="after")
    def _lease_outlasts_heartbeats(self) -> Self:
        if self.lease_duration < 2 * self.heartbeat_interval:
            raise ValueError("lease_duration must be at least twice heartbeat_interval, or one late heartbeat loses an instance")
        return self
