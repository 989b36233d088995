"""What the dispatcher is told at its start."""

from pydantic_settings import SettingsConfigDict

from parade_chassis.config import ServiceConfig


class Config(ServiceConfig):
    """The settings of the dispatcher, `PARADE_DISPATCHER_…` in the environment."""

    model_config = SettingsConfigDict(env_prefix="PARADE_DISPATCHER_")

    agent_manager: str
    """Where the agent_manager listens: `host:port`. It says which agents there are."""
    database_url: str
    """Where effects and started calls are written down, by all dispatchers: `sqlite:///path` or `postgresql://user:password@host/database`."""
