"""The methods that open a session, by who accepts it."""

from typing import Final

DISPATCHER_SESSION: Final = "/parade.v1.DispatcherService/Session"
AGENT_SESSION: Final = "/parade.v1.AgentService/Session"
SCHEDULER_SESSION: Final = "/parade.v1.SchedulerService/Session"

PROTOBUF: Final = "application/protobuf"
"""The media type of a request of a service, and of its response, where they go over a session."""
