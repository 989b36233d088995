"""What the scheduler is told at its start."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from parade_chassis.config import ServiceConfig


class Config(ServiceConfig):
    """The scheduler's settings: `PARADE_SCHEDULER_<NAME>`."""

    model_config = SettingsConfigDict(env_prefix="PARADE_SCHEDULER_")

    database_url: str = Field(repr=False)
    """Where workflows and runs are kept: `sqlite:///path` or `postgresql://user:password@host/database`."""
    dispatcher: str
    """Where the dispatchers listen: `host:port`, with commas between several. They call the functions."""
    agent_manager: str
    """Where the agent_manager listens: `host:port`. It knows which functions there are."""
    secrets: Path | None = None
    """The folder of the secrets that workflows may use: `<namespace>/<name>`, a file for each.

    Others may stand in the environment, as `PARADE_SECRET_<namespace>_<name>`.
    """
    max_runs: int = Field(default=20_000, ge=1)
    """How many runs may be in memory at once; more are refused. Runs that sleep or wait for long are not in memory.

    More than a namespace may have, so that one that has all it may leaves room for others.
    """
    max_runs_per_namespace: int = Field(default=10_000, ge=1)
    """How many of a namespace's runs may go on at once; more are refused. Runs that sleep or wait for long do not count."""
    max_waiting_per_namespace: int = Field(default=10_000, ge=1)
    """How many of a namespace's runs may wait for their concurrency groups; more are refused."""
    max_history: int = Field(default=1_000_000, ge=100)
    """How many events a run's history may have; a run that reaches it is cancelled."""
    max_input_bytes: int = Field(default=4 * 1024 * 1024, ge=1024, le=4 * 1024 * 1024)
    """How large a run's inputs may be, as JSON."""
    max_schedules_per_namespace: int = Field(default=1_000, ge=0)
    """How many schedules a namespace may have, those of its definitions included."""
    max_events_per_namespace: int = Field(default=1_000_000, ge=0)
    """How many events a namespace may publish in a day."""
    max_event_bytes: int = Field(default=256 * 1024, ge=1024, le=4 * 1024 * 1024)
    """How large an event's value may be, as JSON."""
    max_calls: int = Field(default=512, ge=1, le=10_000)
    """How many calls of functions may run at once; the rest wait, namespaces in turn. An eighth is kept for namespaces that have none."""
    agent_patience: int = Field(default=7, ge=1, le=36_500)
    """How many days a durable function waits for an instance of its agent; then its run fails."""
    retention: int = Field(default=30, ge=1, le=36_500)
    """How many days a run is kept after its end."""
