"""What the dispatcher takes from its environment."""

from pathlib import Path

import pytest

from parade_dispatcher.config import Config

NEEDED = {
    "AGENT_MANAGER": "127.0.0.1:1",
    "DATABASE_URL": "sqlite:///dispatcher.db",
    "TRUST_BUNDLE": "ca.pem",
    "CERTIFICATE": "crt.pem",
    "PRIVATE_KEY": "key.pem",
}


def loaded(monkeypatch: pytest.MonkeyPatch, **more: str) -> Config:
    for name, value in {**NEEDED, **more}.items():
        monkeypatch.setenv(f"PARADE_DISPATCHER_{name}", value)
    return Config.load()


def test_without_a_word_there_are_no_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    config = loaded(monkeypatch)

    assert (config.balancer, config.interceptors) == ("least-outstanding", ())
    assert config.trust_bundle == Path("ca.pem")


def test_plugins_are_named_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    config = loaded(monkeypatch, BALANCER="first-by-name", INTERCEPTORS='["quota", "audit"]')

    assert (config.balancer, config.interceptors) == ("first-by-name", ("quota", "audit"))


@pytest.mark.parametrize(("name", "value"), [("SESSION_CALLS", "0"), ("SESSION_AGE", "0.5"), ("INTERCEPTORS", "quota")])
def test_what_is_of_no_use_ends_the_start(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    with pytest.raises(SystemExit) as ended:
        loaded(monkeypatch, **{name: value})

    assert ended.value.code == 2
