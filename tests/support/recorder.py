"""What tells an audit log who changes something, where no request is served: the service itself."""

from parade.wire.identity import Identity
from parade_chassis.audit_recorder import Recorder
from parade_chassis.clock import ManualClock

RECORDER = Recorder(ManualClock(), Identity.service("agent_manager").uri)
