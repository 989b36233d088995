"""A service starts with a configuration that is whole and known, or not at all."""

from pathlib import Path

import pytest
from pydantic import ValidationError
from pydantic_settings import SettingsConfigDict

from parade_chassis.config import ServiceConfig


class Config(ServiceConfig):
    model_config = SettingsConfigDict(env_prefix="PARADE_TESTED_")


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("TRUST_BUNDLE", "CERTIFICATE", "PRIVATE_KEY"):
        monkeypatch.setenv(f"PARADE_TESTED_{name}", "/nowhere")
    return monkeypatch


def test_it_reads_the_environment(told: pytest.MonkeyPatch) -> None:
    told.setenv("PARADE_TESTED_LISTEN", "127.0.0.1:7")

    config = Config.load()

    assert config.listen == "127.0.0.1:7"
    assert config.private_key == Path("/nowhere")


def test_it_cannot_be_changed(told: pytest.MonkeyPatch) -> None:
    config = Config.load()

    with pytest.raises(ValidationError):
        setattr(config, "listen", "elsewhere")  # noqa: B010  # the type checker refuses it, and this asks whether the object does


def test_every_fault_is_named(told: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    told.delenv("PARADE_TESTED_CERTIFICATE")
    told.setenv("PARADE_TESTED_LOG_LEVEL", "loud")
    told.setenv("PARADE_TESTED_LISTENN", "127.0.0.1:7")

    with pytest.raises(SystemExit) as ended:
        Config.load()

    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert all(name in said for name in ("PARADE_TESTED_CERTIFICATE", "PARADE_TESTED_LOG_LEVEL", "PARADE_TESTED_LISTENN"))
