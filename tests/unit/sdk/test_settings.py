"""What an agent's process is told: its join token may stand in a file, and is shown nowhere."""

from pathlib import Path

import pytest

from parade.hosting.settings import Settings, SettingsError

TOKEN = "parade_join_0123456789abcdef0123456789"


def test_the_join_token_may_stand_in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    monkeypatch.setenv("PARADE_JOIN_TOKEN_FILE", str(tmp_path / "token"))

    settings = Settings.from_environment()

    assert settings.join_token == TOKEN
    assert TOKEN not in repr(settings)


@pytest.mark.parametrize(("content", "given", "why"), [(None, "", "cannot be read"), ("", "", "is empty"), (TOKEN, TOKEN, "not both")])
def test_a_token_that_cannot_be_had_is_said_without_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str | None, given: str, why: str
) -> None:
    if content is not None:
        (tmp_path / "token").write_text(content)
    monkeypatch.setenv("PARADE_JOIN_TOKEN_FILE", str(tmp_path / "token"))
    monkeypatch.setenv("PARADE_JOIN_TOKEN", given)

    with pytest.raises(SettingsError, match=why) as refused:
        Settings.from_environment()

    assert TOKEN not in str(refused.value)
