"""What the gateway is told of the issuer that people log in at."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from parade_gateway.config import Config

FILES = {"trust_bundle": Path("ca.pem"), "certificate": Path("gateway.pem"), "private_key": Path("gateway.key")}


def config(**settings: str) -> Config:
    return Config(**FILES, **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("issuer", ["https://id.example", "https://id.example/realms/work/", "http://127.0.0.1:4711"])
def test_an_issuer_is_believed_for_an_audience(issuer: str) -> None:
    assert config(oidc_issuer=issuer, oidc_audience="urn:parade").login() is None
    assert config(oidc_issuer=issuer, oidc_audience="urn:parade", oidc_client_id="cli").login() == {
        "issuer": issuer,
        "audience": "urn:parade",
        "clientId": "cli",
        "scopes": "openid offline_access",
    }


@pytest.mark.parametrize(
    "issuer", ["http://id.example", "id.example", "https://id.example#a", "https://id.example?a=b", "https://a@id.example"]
)
def test_one_that_others_could_speak_for_is_none(issuer: str) -> None:
    with pytest.raises(ValidationError, match="https:// URL"):
        config(oidc_issuer=issuer, oidc_audience="urn:parade")


@pytest.mark.parametrize(
    "settings",
    [{"oidc_issuer": "https://id.example"}, {"oidc_audience": "urn:parade"}, {"oidc_client_id": "cli"}],
    ids=["issuer", "audience", "client"],
)
def test_half_of_it_is_refused(settings: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="go together"):
        config(**settings)
