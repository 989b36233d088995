"""A service starts with a configuration that is whole and known, or not at all."""

from pathlib import Path

import pytest
from pydantic import Field, ValidationError
from pydantic_settings import SettingsConfigDict

from parade.wire.redaction import redacted
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


class Storing(Config):
    database_url: str = Field(repr=False)


URL = "postgresql://parade:p4ss%2Fw0rd-of-the-database@db/parade"


def test_a_password_may_stand_in_a_file(told: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "url").write_text(f"{URL}\n")
    told.setenv("PARADE_TESTED_DATABASE_URL_FILE", str(tmp_path / "url"))

    config = Storing.load()

    assert config.database_url == URL
    assert "p4ss" not in repr(config)


def test_the_password_of_the_database_is_in_no_text_of_the_process(told: pytest.MonkeyPatch) -> None:
    told.setenv("PARADE_TESTED_DATABASE_URL", URL)
    Storing.load()

    assert redacted("password authentication failed for p4ss%2Fw0rd-of-the-database, p4ss/w0rd-of-the-database") == (
        "password authentication failed for ***, ***"
    )


@pytest.mark.parametrize("content", [None, b"", b"\xff"])
def test_a_file_that_cannot_be_used_is_named_without_what_is_in_it(
    told: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | None
) -> None:
    if content is not None:
        (tmp_path / "url").write_bytes(content)
    told.setenv("PARADE_TESTED_DATABASE_URL_FILE", str(tmp_path / "url"))

    with pytest.raises(SystemExit):
        Storing.load()

    assert f"PARADE_TESTED_DATABASE_URL_FILE: {tmp_path}/url" in capsys.readouterr().err


def test_a_setting_is_not_given_twice(told: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told.setenv("PARADE_TESTED_DATABASE_URL", URL)
    told.setenv("PARADE_TESTED_DATABASE_URL_FILE", str(tmp_path / "url"))

    with pytest.raises(SystemExit):
        Storing.load()

    said = capsys.readouterr().err
    assert "not both" in said
    assert "p4ss" not in said


def test_a_file_is_for_what_may_hold_a_password_alone(told: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told.setenv("PARADE_TESTED_LISTEN_FILE", str(tmp_path))

    with pytest.raises(SystemExit):
        Config.load()

    assert "PARADE_TESTED_LISTEN_FILE: there is no such setting" in capsys.readouterr().err
