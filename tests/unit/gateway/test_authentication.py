from pathlib import Path

import pytest

from parade.wire.errors import ParadeError
from parade.wire.identity import Identity
from parade_gateway.authentication import KEY_NAME, ApiKey, read_or_make
from parade_gateway.errors import HttpError

KEY = "pk_" + "k" * 40


@pytest.fixture
def api_key() -> ApiKey:
    return ApiKey(KEY, Identity.client(KEY_NAME, "sales"))


@pytest.mark.parametrize("headers", [{"authorization": f"Bearer {KEY}"}, {"authorization": f"bearer  {KEY} "}, {"x-api-key": KEY}])
def test_the_key_opens_in_either_header(api_key: ApiKey, headers: dict[str, str]) -> None:
    assert api_key.authenticate(headers).uri == "spiffe://parade.local/ns/sales/client/api-key"


@pytest.mark.parametrize(
    "headers", [{}, {"authorization": "Basic abc"}, {"authorization": "Bearer "}, {"x-api-key": KEY[:-1]}, {"x-api-key": "é"}]
)
def test_without_the_key_nobody_comes_in(api_key: ApiKey, headers: dict[str, str]) -> None:
    with pytest.raises(HttpError) as caught:
        api_key.authenticate(headers)

    assert caught.value.status == 401
    assert caught.value.headers["www-authenticate"].startswith("Bearer")


def test_the_key_is_made_once_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    path = tmp_path / "state" / "api-key"

    made = read_or_make(path)

    assert made.startswith("pk_")
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_or_make(path) == made


def test_a_file_that_holds_no_key_stops_the_start(tmp_path: Path) -> None:
    path = tmp_path / "api-key"
    path.write_text("")

    with pytest.raises(ParadeError, match="no API key"):
        read_or_make(path)
