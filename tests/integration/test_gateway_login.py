"""People at the gateway, with the tokens of a real issuer: `oidc-provider` from npm, and of one that lies."""

import asyncio
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from parade.wire.roles import EVERYWHERE, Role
from parade_chassis.grants import Granted, Grants
from parade_gateway import api, signing_keys
from tests.integration.gateway_harness import Edge, error_of, gateway_of
from tests.support import oidc_provider
from tests.support.certificates import Authority
from tests.support.lying_issuer import LyingIssuer, described, lying, signed
from tests.support.oidc_provider import AUDIENCE, CLIENT_ID, Issuer
from tests.support.waiting import eventually

KEY = ec.generate_private_key(ec.SECP256R1())
pytestmark = pytest.mark.timeout(400)  # the first test that needs the issuer installs it


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    try:
        with oidc_provider.running() as running:
            yield running
    except (OSError, subprocess.SubprocessError) as error:
        pytest.skip(f"the issuer cannot be installed here: {error}")


@pytest.fixture
def grants() -> Grants:
    grants = Grants()
    grants.replace([])
    return grants


@pytest.fixture
async def edge(issuer: Issuer, grants: Grants, tmp_path: Path, unused_tcp_port: int) -> AsyncIterator[Edge]:
    told = {"oidc_issuer": issuer.url, "oidc_audience": AUDIENCE, "oidc_client_id": CLIENT_ID}
    async with gateway_of(Authority(tmp_path / "certificates"), tmp_path, unused_tcp_port, grants=grants, **told) as started:
        yield started


def bearer(token: str, **headers: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}", **headers}


async def test_a_person_may_do_what_is_granted_to_it_and_hears_what_is_not(edge: Edge, issuer: Issuer, grants: Grants) -> None:
    robot = f"oidc:{issuer.url}#robot"
    headers = bearer(await asyncio.to_thread(issuer.robot_token))

    nobody = await edge.client.get("/v1/agents", headers=headers)
    grants.put(Granted(robot, "default", Role.VIEWER))
    read = await edge.client.get("/v1/agents", headers=headers)
    seen = edge.seen.contexts[-1]
    paused = await edge.client.post("/v1/agents/a:pause", headers=headers, json={})
    elsewhere = await edge.client.get("/v1/agents", headers=headers | {"x-parade-namespace": "sales"})
    grants.put(Granted(robot, EVERYWHERE, Role.DEVELOPER))
    everywhere = await edge.client.get("/v1/agents", headers=headers | {"x-parade-namespace": "sales"})

    assert (nobody.status_code, read.status_code, paused.status_code, elsewhere.status_code) == (403, 200, 403, 403)
    assert f"`parade role grant '{robot}' viewer`" in error_of(nobody)["message"]
    assert "namespace sales" in error_of(elsewhere)["message"]
    assert (seen.principal, seen.namespace, seen.role) == (robot, "default", Role.VIEWER)
    assert everywhere.status_code == 200
    assert (edge.seen.contexts[-1].namespace, edge.seen.contexts[-1].role) == ("sales", Role.DEVELOPER)
    assert edge.seen.authenticated == 0  # no key was asked for


async def test_what_a_person_has_under_way_ends_with_its_role(
    edge: Edge, issuer: Issuer, grants: Grants, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "REVOCATION_CHECK", 0.05)
    robot = f"oidc:{issuer.url}#robot"
    grants.put(Granted(robot, "default", Role.DEVELOPER))
    headers = bearer(await asyncio.to_thread(issuer.robot_token))
    # The first look at the old interval is still ahead.
    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        calling = tasks.create_task(edge.client.post("/v1/functions/a.hang:call", headers=headers, json={}, timeout=25))
        await eventually(lambda: len(edge.seen.calls) == 1)

        grants.put(Granted(robot, "default", Role.VIEWER))
        refused = await calling

    assert refused.status_code == 403
    await eventually(lambda: edge.seen.cancelled == 1)


async def test_keys_are_rotated_and_withdrawn_without_a_word(
    edge: Edge, issuer: Issuer, grants: Grants, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signing_keys, "COOL_DOWN", 0.0)
    grants.put(Granted(f"oidc:{issuer.url}#robot", "default", Role.VIEWER))
    old = await asyncio.to_thread(issuer.robot_token)
    before = await edge.client.get("/v1/agents", headers=bearer(old))
    await asyncio.to_thread(issuer.rotate)
    new = await asyncio.to_thread(issuer.robot_token)
    after = [(await edge.client.get("/v1/agents", headers=bearer(token))).status_code for token in (new, old)]
    await asyncio.to_thread(issuer.withdraw)
    third = await asyncio.to_thread(issuer.robot_token)

    assert before.status_code == 200
    assert after == [200, 200]
    assert (await edge.client.get("/v1/agents", headers=bearer(third))).status_code == 200


async def test_a_changed_token_is_nobodys(edge: Edge, issuer: Issuer, grants: Grants) -> None:
    grants.put(Granted(f"oidc:{issuer.url}#robot", "default", Role.ADMIN))
    head, body, mark = (await asyncio.to_thread(issuer.robot_token)).split(".")
    ends = [f"{body}.", f"{body}.{mark[::-1]}", f"{body[:-2]}.{mark}", body, f"{body}.{mark}.{mark}"]
    forged = [f"{head}.{end}" for end in ends]

    answers = [await edge.client.get("/v1/agents", headers=bearer(token)) for token in forged]

    assert {answer.status_code for answer in answers} == {401}
    assert {answer.headers["www-authenticate"] for answer in answers} == {'Bearer realm="parade", error="invalid_token"'}
    assert edge.seen.requests == []


async def test_keys_open_the_same_doors_beside_tokens(edge: Edge) -> None:
    own = await edge.client.get("/v1/agents")
    named = await edge.client.get("/v1/agents", headers={"x-parade-namespace": "sales"})
    other = await edge.client.get("/v1/agents", headers={"x-parade-namespace": "default"})

    assert (own.status_code, named.status_code, other.status_code) == (200, 200, 403)


async def test_where_people_log_in_is_said_to_anybody(edge: Edge, issuer: Issuer) -> None:
    answer = await edge.client.get("/login.json", headers={"authorization": ""})

    assert answer.json() == {"issuer": issuer.url, "audience": AUDIENCE, "clientId": CLIENT_ID, "scopes": "openid offline_access"}


@pytest.fixture
def liar() -> Iterator[LyingIssuer]:
    with lying() as running:
        yield running


@pytest.fixture
async def lied_to(liar: LyingIssuer, tmp_path: Path, unused_tcp_port: int) -> AsyncIterator[Edge]:
    """A gateway that believes the liar, and lets everybody do everything."""
    authority = Authority(tmp_path / "certificates")
    async with gateway_of(authority, tmp_path, unused_tcp_port, oidc_issuer=liar.url, oidc_audience=AUDIENCE) as started:
        yield started


def claims(liar: LyingIssuer, **more: Any) -> dict[str, Any]:
    now = int(time.time())
    return {"iss": liar.url, "aud": AUDIENCE, "sub": "ann", "iat": now, "exp": now + 300, **more}


async def shown(edge: Edge, token: str) -> int:
    return (await edge.client.get("/v1/agents", headers=bearer(token))).status_code


async def test_an_issuer_that_comes_late_is_believed_then(liar: LyingIssuer, lied_to: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signing_keys, "COOL_DOWN", 0.0)
    token = signed(claims(liar), KEY, "ES256", kid="a")
    liar.status = 500
    away = await shown(lied_to, token)
    liar.status = 200
    empty = await shown(lied_to, token)
    liar.shows(described(KEY, "a"), issuer="https://id.example")
    foreign = await shown(lied_to, token)
    liar.shows(described(KEY, "a"))

    assert (away, empty, foreign) == (503, 503, 503)
    assert await shown(lied_to, token) == 200


@pytest.mark.parametrize("where", ["http://id.example/keys", "file:///etc/passwd", "", 1, None])
async def test_keys_are_fetched_from_nowhere_that_others_could_read(liar: LyingIssuer, lied_to: Edge, where: Any) -> None:
    liar.shows(described(KEY, "a"), jwks_uri=where)

    assert await shown(lied_to, signed(claims(liar), KEY, "ES256", kid="a")) == 503


async def test_keys_of_ten_megabytes_are_not_read(liar: LyingIssuer, lied_to: Edge) -> None:
    liar.bodies["/keys"] = b'{"keys": [], "more": "' + b"x" * 10_000_000 + b'"}'

    assert await shown(lied_to, signed(claims(liar), KEY, "ES256", kid="a")) == 503


async def test_an_issuer_that_hangs_holds_up_nobody_else(liar: LyingIssuer, lied_to: Edge) -> None:
    liar.silence = 60.0
    async with asyncio.TaskGroup() as tasks:
        waiting = [tasks.create_task(shown(lied_to, signed(claims(liar), KEY, "ES256", kid=f"k{number}"))) for number in range(20)]
        await eventually(lambda: liar.asked != [])

        by_key = [(await lied_to.client.get("/v1/agents")).status_code for _ in range(20)]
        still = [task.done() for task in waiting]

    assert by_key == [200] * 20
    assert not any(still)
    assert {task.result() for task in waiting} == {503}
    assert len(liar.asked) == 1


async def test_a_storm_of_unknown_keys_asks_the_issuer_once(liar: LyingIssuer, lied_to: Edge) -> None:
    liar.shows(described(KEY, "a"))
    good = await shown(lied_to, signed(claims(liar), KEY, "ES256", kid="a"))
    statuses = [await shown(lied_to, signed(claims(liar), KEY, "ES256", kid=f"unknown-{number}")) for number in range(100)]

    assert good == 200
    assert set(statuses) == {401}
    assert liar.asked.count("/keys") == 1


async def test_where_nobody_logs_in_nothing_is_said_of_it(liar: LyingIssuer, lied_to: Edge) -> None:
    assert (await lied_to.client.get("/login.json")).status_code == 404


async def test_an_ended_token_ends_what_it_has_under_way(liar: LyingIssuer, lied_to: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "REVOCATION_CHECK", 0.05)
    liar.shows(described(KEY, "a"))
    # Ended long ago but for the skew that is allowed for, of which some seconds are left.
    token = signed(claims(liar, exp=int(time.time()) - 25), KEY, "ES256", kid="a")
    response = await lied_to.client.post("/v1/functions/a.hang:call", headers=bearer(token), json={}, timeout=40)

    assert response.status_code == 401
    assert "has expired" in error_of(response)["message"]
