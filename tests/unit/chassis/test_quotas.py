"""Quotas are what the setting says of a namespace, else what it says of all, else what the service has."""

import re
from pathlib import Path

import pytest
from pydantic import Field, ValidationError
from pydantic_settings import SettingsConfigDict

from parade.wire.errors import Reason
from parade_agent_manager.quotas import AgentLimits
from parade_chassis.config import ServiceConfig
from parade_chassis.quotas import Given, Limits, Quotas
from parade_dispatcher.quotas import CallLimits
from parade_gateway.quotas import GatewayLimits
from parade_monitor.rates import Rows


class ShopLimits(Limits):
    calls: int = Field(default=10, ge=1)
    keys: int = Field(default=20, ge=1)


class Config(ServiceConfig):
    model_config = SettingsConfigDict(env_prefix="PARADE_TESTED_")

    quotas: Given[ShopLimits] = Field(default_factory=dict)


def quotas(monkeypatch: pytest.MonkeyPatch, said: str) -> Quotas[ShopLimits]:
    for name in ("TRUST_BUNDLE", "CERTIFICATE", "PRIVATE_KEY"):
        monkeypatch.setenv(f"PARADE_TESTED_{name}", "/nowhere")
    monkeypatch.setenv("PARADE_TESTED_QUOTAS", said)
    return Quotas("tested", Config.load().quotas, ShopLimits())


def test_what_nothing_is_said_of_is_as_the_service_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert quotas(monkeypatch, "{}").of("research") == ShopLimits()


def test_a_namespace_has_its_own_then_that_of_all_then_the_services(monkeypatch: pytest.MonkeyPatch) -> None:
    said = quotas(monkeypatch, '{"*": {"calls": 5}, "research": {"keys": 7}, "sales": {"calls": 1}}')

    assert said.of("research") == ShopLimits(calls=5, keys=7)
    assert said.of("sales") == ShopLimits(calls=1, keys=20)
    assert said.of("other") == ShopLimits(calls=5, keys=20)


@pytest.mark.parametrize(
    "said", ['{"Research": {}}', '{"a/b": {"calls": 1}}', '{"*": {"cals": 1}}', '{"*": {"calls": 0}}', '{"*": 1}', "[]", "calls"]
)
def test_what_is_no_quota_stops_the_start(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], said: str) -> None:
    with pytest.raises((SystemExit, ValidationError)):
        quotas(monkeypatch, said)

    assert "quotas" in capsys.readouterr().err.lower()


def test_the_error_says_the_limit_and_how_more_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    said = quotas(monkeypatch, '{"research": {"calls": 5000}}')

    error = said.exhausted("research", "calls", "calls under way", "try again in a moment", passing=True)
    lasting = said.exhausted("research", "keys", "API keys", "revoke some")

    assert error.reason is Reason.NO_CAPACITY
    assert "may have 5,000 calls under way" in error.message
    assert error.message.endswith("""PARADE_TESTED_QUOTAS='{"research": {"calls": 10000}}'""")
    assert (error.retryable, error.metadata["retry_after"]) == (True, "1s")
    assert (lasting.retryable, lasting.metadata) == (False, {"quota": "keys", "limit": "20"})


def test_the_page_of_limits_says_every_quota_and_its_default() -> None:
    page = (Path(__file__).parents[3] / "docs" / "reference" / "limits.md").read_text()
    services: dict[str, type[Limits]] = {
        "AGENT_MANAGER": AgentLimits,
        "DISPATCHER": CallLimits,
        "GATEWAY": GatewayLimits,
        "MONITOR": Rows,
    }

    setting, said = "", []
    for named, limit, default in re.findall(r"^\| (?:`(PARADE_\w+_QUOTAS)`)? ?\| `(\w+)` \| (\d+) \|", page, re.MULTILINE):
        setting = named or setting
        said.append((setting, limit, int(default)))

    assert said == [
        (f"PARADE_{service}_QUOTAS", name, field.default)
        for service, limits in services.items()
        for name, field in limits.model_fields.items()
    ]
