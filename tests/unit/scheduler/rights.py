"""What principals may have a scheduler do, in tests."""

from dataclasses import dataclass, field

from parade.wire.log import Log
from parade_chassis.clock import Clock, ManualClock
from parade_chassis.ids import Ids
from parade_chassis.policies import Policies
from parade_chassis.standing import Standing
from parade_scheduler.config import Config
from parade_scheduler.rights import Rights
from tests.support.standing import Everyone, no_policies


@dataclass
class Surrounding:
    """The process around the parts of a scheduler, in which everybody may everything."""

    config: Config = field(default_factory=lambda: Config.model_construct(drain_timeout=1.0))
    clock: Clock = field(default_factory=ManualClock)
    ids: Ids = field(default_factory=lambda: Ids(ManualClock()))
    log: Log = field(default_factory=Log)
    standing: Standing = field(default_factory=Everyone)
    policies: Policies = field(default_factory=no_policies)


def every_right() -> Rights:
    """Returns rights by which everybody may everything."""
    return Rights(Surrounding())
