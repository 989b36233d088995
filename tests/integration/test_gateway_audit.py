"""Who is refused at the gateway, which has no audit log, stands in the agent_manager's."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from parade.testing import LocalMesh
from parade_gateway.refused import INTERVAL
from tests.support.commands import parade as run
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(180)


def of(folder: Path, *arguments: str) -> Any:
    result = run(folder, *arguments, "-o", "json")
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@pytest.mark.full
async def test_who_is_refused_at_the_gateway_is_recorded_by_the_agent_manager(tmp_path: Path) -> None:
    with LocalMesh(tmp_path) as mesh:
        reader, leaver = (of(tmp_path, "key", "create", name, "--role", "viewer") for name in ("reader", "leaver"))
        assert run(tmp_path, "key", "revoke", leaver["key"]["id"]).returncode == 0
        async with httpx.AsyncClient(base_url=mesh.rest) as client:
            shown = (reader["secret"], leaver["secret"], "parade_of_nobody", "")
            statuses = [(await client.post("/v1/agents/a:pause", headers={"x-api-key": key}, json={})).status_code for key in shown]
        assert statuses == [403, 401, 401, 401]

        def denied() -> list[dict[str, Any]]:
            entries: list[dict[str, Any]] = of(tmp_path, "audit", "tail", "--service", "agent_manager", "--kind", "deny")
            return entries

        await eventually(lambda: any(entry["action"].startswith("POST ") for entry in denied()), within=3 * INTERVAL)
        entries = denied()

    told = {(entry["action"], entry["subject"], entry["facts"]["reason"]) for entry in entries}
    assert ("POST /v1/agents/{name}:pause", f"key:{reader['key']['id']}", "PERMISSION_DENIED") in told
    assert ("/parade.v1.KeyService/AuthenticateKey", f"key:{leaver['key']['id']}", "UNAUTHENTICATED") in told
    # An admin of all namespaces sees what nobody known has tried, which is of none.
    assert sum(entry["facts"]["count"] for entry in entries if entry["action"].startswith("POST ") and not entry["subject"]) == 3
