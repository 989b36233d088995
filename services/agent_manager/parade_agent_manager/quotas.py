"""What a namespace may have of the agent_manager."""

from pydantic import Field

from parade_chassis.quotas import Limits


class AgentLimits(Limits):
    """The limits of a namespace."""

    agents: int = Field(default=1_000, ge=1)
    """Agents, those too of which no instance runs."""
    instances: int = Field(default=10_000, ge=1)
    """Instances that have not left."""
    functions: int = Field(default=20_000, ge=1)
    """Functions of all its agents."""
    join_tokens: int = Field(default=5_000, ge=1)
    """Join tokens that can still be used."""
