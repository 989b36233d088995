"""What the monitor is told at its start."""

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from parade_chassis.config import ServiceConfig
from parade_chassis.quotas import Given
from parade_monitor.rates import Rows


class Config(ServiceConfig):
    """The settings of the monitor: environment variables that begin with `PARADE_MONITOR_`."""

    model_config = SettingsConfigDict(env_prefix="PARADE_MONITOR_")

    agent_manager: str = ""
    """Where the agent_manager listens: `host:port`. It says who is revoked and who may ask; a monitor not told so answers no client."""
    database_url: str = Field(repr=False)
    """Where records are kept: `sqlite:///path` or `postgresql://user:password@host/database`. One monitor to a database."""
    retention_days: float = Field(default=7.0, gt=0, le=3650)
    """How long a record is kept, in days."""
    max_rows: int = Field(default=1_000_000, ge=1_000)
    """How many log records, spans and metric points are kept, each; the oldest go first."""
    quotas: Given[Rows] = Field(default_factory=dict)
    """What each namespace may have taken in, as JSON by namespace (see `parade_chassis.quotas`): `rows_per_second`."""
