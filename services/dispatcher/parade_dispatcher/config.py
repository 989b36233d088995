"""What the dispatcher is told at its start."""

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from parade.wire.mandate import MOST_AGENTS
from parade_chassis.config import ServiceConfig
from parade_chassis.quotas import Given, Quotas
from parade_dispatcher.plugins import DEFAULT_BALANCER
from parade_dispatcher.quotas import CallLimits


class Config(ServiceConfig):
    """The settings of the dispatcher, `PARADE_DISPATCHER_…` in the environment."""

    model_config = SettingsConfigDict(env_prefix="PARADE_DISPATCHER_")

    agent_manager: str
    """Where the agent_manager listens: `host:port`. It says which agents there are."""
    database_url: str = Field(repr=False)
    """Where effects and started calls are written down, by all dispatchers: `sqlite:///path` or `postgresql://user:password@host/database`."""
    approval_lifetime: float = Field(default=86_400.0, ge=1, le=86_400)
    """Seconds for which the approval of a call can be given, and used. A day at most: for that long it is known what came of an effect."""
    balancer: str = DEFAULT_BALANCER
    """What chooses among the instances with room: `least-outstanding`, or the name of an entry point of the group `parade.balancers`."""
    interceptors: tuple[str, ...] = ()
    """What sees every call, in this order: names of entry points of the group `parade.interceptors`, as a JSON array."""
    max_depth: int = Field(default=MOST_AGENTS, ge=1, le=MOST_AGENTS)
    """Agents that may work for somebody one through the other. More are refused, as where agents call each other in a circle."""
    session_calls: int = Field(default=1024, ge=1, le=65_536)
    """Calls of one session that may be under way at once. Whoever has more keeps the rest back until others have ended."""
    session_age: float = Field(default=1800.0, ge=1)
    """Seconds after which whoever opened a session is asked to open another, give or take a tenth."""
    quotas: Given[CallLimits] = Field(default_factory=dict)
    """What each namespace may have, as JSON by namespace (see `parade_chassis.quotas`): `calls`, `sessions`."""

    def limits(self) -> Quotas[CallLimits]:
        """Returns what each namespace may have."""
        return Quotas("dispatcher", self.quotas, CallLimits())
