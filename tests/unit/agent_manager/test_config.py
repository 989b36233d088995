from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from parade_agent_manager.config import Config


def config(**changes: Any) -> Config:
    paths = dict.fromkeys(("trust_bundle", "certificate", "private_key", "ca_certificate", "ca_private_key"), Path("x.pem"))
    return Config(**{**paths, "database_url": "sqlite:///agents.db", **changes})


def test_a_lost_instance_is_noticed_within_ten_seconds_by_default() -> None:
    assert config().lease_duration + 1 < 10


def test_a_lease_that_one_late_heartbeat_would_end_is_refused() -> None:
    with pytest.raises(ValidationError, match="at least twice"):
        config(heartbeat_interval=4, lease_duration=6)
