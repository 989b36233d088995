"""The methods that open a session, by who accepts it."""

from typing import Final

DISPATCHER_SESSION: Final = "/parade.v1.DispatcherService/Session"
AGENT_SESSION: Final = "/parade.v1.AgentService/Session"
