"""What `python -m parade.serve` is given."""

from pathlib import Path

import pytest

from parade.hosting.settings import Settings, SettingsError
from parade.serve import TargetError, load

GOOD = "import parade\nworker = parade.Agent('clerk')\nnumber = 3\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_an_agent_is_found_in_the_working_folder(folder: Path) -> None:
    (folder / "serve_good.py").write_text(GOOD)

    assert load("serve_good:worker").name == "clerk"


@pytest.mark.parametrize(
    ("content", "target", "words"),
    [
        ("", "serve_absent:agent", "there is no module 'serve_absent'"),
        ("", "serve_target.inner:agent", "there is no module 'serve_target.inner'"),
        (GOOD, "serve_target", "has no attribute 'agent'; agents there: serve_target:worker"),
        (GOOD, "serve_target:number", "is a int, not a parade.Agent"),
        ("x = 1", "serve_target:agent", "there is no agent in it"),
        ("import not_installed", "serve_target:agent", "needs the module 'not_installed'"),
        ("1 / 0", "serve_target:agent", "ZeroDivisionError"),
    ],
    ids=["no module", "no submodule", "no attribute", "no agent", "no agents at all", "needs another", "raises"],
)
def test_a_target_that_cannot_be_served_is_explained(
    folder: Path, monkeypatch: pytest.MonkeyPatch, content: str, target: str, words: str
) -> None:
    (folder / "serve_target.py").write_text(content)
    monkeypatch.delitem(__import__("sys").modules, "serve_target", raising=False)

    with pytest.raises(TargetError, match=words):
        load(target)


def test_an_address_can_be_advertised_in_place_of_the_one_listened_on() -> None:
    assert Settings().address(7) == "127.0.0.1:7"
    assert Settings(advertise="host.example:0").address(7) == "host.example:7"
    assert Settings(advertise="host.example:9").address(7) == "host.example:9"


@pytest.mark.parametrize(
    ("variable", "value"),
    [("PARADE_AGENT_LISTEN", "here"), ("PARADE_AGENT_LOG_LEVEL", "loud"), ("PARADE_AGENT_DRAIN_TIMEOUT", "soon")],
    ids=["address", "level", "seconds"],
)
def test_settings_that_cannot_be_used_are_explained(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    monkeypatch.setenv(variable, value)

    with pytest.raises(SettingsError, match=variable):
        Settings.from_environment()
