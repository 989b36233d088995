"""Who asks: by key or by token, and in which namespace."""

from typing import Any

import pytest

from parade.wire.errors import ParadeError, Reason
from parade.wire.roles import EVERYWHERE, Role
from parade_chassis.api_key import new_key
from parade_chassis.grants import Granted, Grants
from parade_gateway.caller import Caller
from parade_gateway.callers import Callers, Shown, shown_by
from parade_gateway.errors import HttpError

KEY = new_key()
HOLDER = Caller("key:1", "sales", Role.DEVELOPER)
ANN = "oidc:https://id.example#ann"


class Known:
    """Keys and tokens that are known without anybody being asked, or only after."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.at_once = True

    def known(self, shown: str) -> Any:
        return self.answer if self.at_once else None

    async def caller(self, shown: str) -> Any:
        return self.answer

    principal = caller


@pytest.fixture
def grants() -> Grants:
    grants = Grants()
    grants.replace([Granted(ANN, "default", Role.VIEWER), Granted(ANN, "sales", Role.ADMIN)])
    return grants


@pytest.fixture(params=[True, False], ids=["known", "asked"])
def callers(request: pytest.FixtureRequest, grants: Grants) -> Callers:
    keys: Any = Known(HOLDER)
    tokens: Any = Known(ANN)
    keys.at_once = tokens.at_once = request.param
    return Callers(keys, tokens, grants)


async def caller(callers: Callers, text: str, namespace: str = "") -> Caller:
    shown = Shown(text, namespace)
    return callers.known(shown) or await callers.caller(shown)


async def failure(callers: Callers, text: str, namespace: str = "") -> ParadeError:
    with pytest.raises(ParadeError) as caught:
        await caller(callers, text, namespace)
    return caught.value


@pytest.mark.parametrize("headers", [{"authorization": f"Bearer {KEY}"}, {"authorization": f"bearer  {KEY} "}, {"x-api-key": KEY}])
def test_what_is_shown_stands_in_either_header(headers: dict[str, str]) -> None:
    assert shown_by(headers) == Shown(KEY, "")
    assert shown_by({**headers, "x-parade-namespace": "sales"}) == Shown(KEY, "sales")


@pytest.mark.parametrize("headers", [{}, {"authorization": "Basic abc"}, {"authorization": "Bearer "}, {"x-api-key": ""}])
def test_who_shows_nothing_is_told_how(headers: dict[str, str]) -> None:
    with pytest.raises(HttpError, match="show an API key") as caught:
        shown_by(headers)

    assert caught.value.status == 401
    assert caught.value.headers["www-authenticate"] == 'Bearer realm="parade"'


@pytest.mark.parametrize("namespace", ["", "sales"])
async def test_a_key_opens_its_own_namespace(callers: Callers, namespace: str) -> None:
    assert await caller(callers, KEY, namespace) == HOLDER


@pytest.mark.parametrize("namespace", ["default", "*", "Sales", "sales ", "\n"])
async def test_a_key_opens_no_other(callers: Callers, namespace: str) -> None:
    assert (await failure(callers, KEY, namespace)).reason is Reason.PERMISSION_DENIED


@pytest.mark.parametrize(
    ("namespace", "where", "role"),
    [("", "default", Role.VIEWER), ("default", "default", Role.VIEWER), ("sales", "sales", Role.ADMIN), ("other", "other", Role.NONE)],
)
async def test_a_person_has_the_role_of_the_namespace_that_is_asked_for(callers: Callers, namespace: str, where: str, role: Role) -> None:
    assert await caller(callers, "a.b.c", namespace) == Caller(ANN, where, role)


@pytest.mark.parametrize("namespace", ["*", "Sales", "sales ", "-", "a" * 41, "é"])
async def test_a_person_names_a_namespace_that_could_be_one(callers: Callers, grants: Grants, namespace: str) -> None:
    grants.put(Granted(ANN, EVERYWHERE, Role.ADMIN))

    assert (await failure(callers, "a.b.c", namespace)).reason is Reason.INVALID_ARGUMENTS


async def test_a_change_of_role_is_seen_at_once(callers: Callers, grants: Grants) -> None:
    before = await caller(callers, "a.b.c")
    grants.put(Granted(ANN, "default", Role.NONE))

    assert (before.role, (await caller(callers, "a.b.c")).role) == (Role.VIEWER, Role.NONE)


async def test_until_roles_are_known_a_person_is_asked_to_try_again() -> None:
    tokens: Any = Known(ANN)
    keys: Any = Known(HOLDER)

    assert (await failure(Callers(keys, tokens, Grants()), "a.b.c")).reason is Reason.UNAVAILABLE


async def test_where_nobody_logs_in_a_token_is_nobodys(grants: Grants) -> None:
    keys: Any = Known(HOLDER)
    error = await failure(Callers(keys, None, grants), "a.b.c")

    assert error.reason is Reason.UNAUTHENTICATED
    assert "PARADE_GATEWAY_OIDC_ISSUER" in error.message
