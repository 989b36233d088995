"""A secret that functions say wherever they can stands nowhere but where it was put: in no database, log, span, answer or output."""

import asyncio
import base64
import json
from pathlib import Path
from typing import Final
from urllib.parse import quote, quote_plus

import httpx
import orjson
import pytest

from parade.call_options import CallOptions
from parade.client import Mesh, connect
from parade.testing import LocalMesh
from parade.v1 import monitor_pb2
from parade.wire.errors import ParadeError
from parade.wire.mesh_file import MeshFile
from tests.support import commands
from tests.support.leaking_agent import FUNCTIONS
from tests.support.mesh import agent_process, ready
from tests.support.waiting import eventually

AGENT: Final = "tests.support.leaking_agent:agent"
IN_FILE: Final = 'c4nary+of/the "bank" äö\\in:a=file'
IN_ENVIRONMENT: Final = "c4nary_of_the_environment_0123456789"
OF_A_CALLER: Final = "c4nary-of-a-caller/0123456789"
SHORT: Final = "q9Z$k"
DATABASES: Final = ("agent_manager.db", "dispatcher.db", "monitor.db", "scheduler.db")


def workflow(name: str, function: str, given: str) -> str:
    """Returns one of a single step."""
    return orjson.dumps({"name": name, "steps": {"a": {"call": f"leaking.{function}", "with": orjson.loads(given)}}}).decode()


def written(secret: str) -> list[bytes]:
    """Returns how a secret may be written: as it is, in JSON, in URLs, and in base64 wherever it stands within a text."""
    texts = [secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1], repr(secret)[1:-1]]
    if len(secret) > len(SHORT):
        texts += [quote(secret), quote(secret, safe=""), quote_plus(secret)]
        for before in range(3):
            encoded = base64.b64encode(bytes(before) + secret.encode()).decode()
            texts.append(encoded[4 if before else 0 : -4])
    return [text.encode() for text in texts]


def found(content: bytes) -> list[str]:
    """Returns the secrets that stand in something."""
    secrets = (IN_FILE, IN_ENVIRONMENT, OF_A_CALLER, SHORT)
    return [secret for secret in secrets if any(form in content for form in written(secret))]


@pytest.mark.timeout(180)
async def test_a_secret_that_functions_say_wherever_they_can_stands_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARADE_SECRET_default_canary", IN_ENVIRONMENT)
    said: dict[str, bytes] = {}
    with LocalMesh(tmp_path) as file:
        monkeypatch.delenv("PARADE_SECRET_default_canary")
        folder = file.folder / "secrets" / "default"
        (folder / "canary_file").write_text(IN_FILE)
        (folder / "short").write_text(SHORT)
        with agent_process(file, AGENT, PARADE_AGENT_LOG_LEVEL="debug"):
            async with connect(file) as mesh:
                await ready(mesh, 1, "leaking")
                runs = await asyncio.gather(*(ran(mesh, *case) for case in cases()))
                said |= await answers(file, mesh, runs)
                said["calls"] = await failed_calls(mesh)
                await eventually(lambda: arrived(mesh, len(runs)), within=30)
                said |= outputs(tmp_path, runs)

    left = {path.name: path.read_bytes() for path in file.folder.rglob("*") if path.is_file() and path.parent != folder}
    assert set(DATABASES) <= left.keys()
    # The failures did get there.
    for place in (left["agents.log"], left["monitor.db"] + left.get("monitor.db-wal", b""), *said.values()):
        assert b"***" in place
    assert {name: secrets for name, content in (left | said).items() if (secrets := found(content))} == {}


def cases() -> list[tuple[str, str, str]]:
    """Returns the workflows: by name, function and arguments."""
    cases = []
    for number, secret in enumerate(("canary_file", "canary", "short")):
        cases += [(f"{function}-{number}", function, f'{{"token": "${{{{ secrets.{secret} }}}}"}}') for function in FUNCTIONS]
        cases.append((f"check-{number}", "check", f'{{"account": {{"token": "Bearer ${{{{ secrets.{secret} }}}}"}}}}'))
    return cases


async def ran(mesh: Mesh, name: str, function: str, given: str) -> str:
    """Runs a workflow, which fails, and returns the run's id."""
    await mesh.put_workflow(workflow(name, function, given))
    run = await mesh.start(name)
    ended = await run.wait(60)
    assert ended.steps[0].error.message, name
    return run.id


async def answers(file: MeshFile, mesh: Mesh, runs: list[str]) -> dict[str, bytes]:
    """Returns what gRPC and REST say of the runs."""
    told = []
    for id in runs:
        run = mesh.run(id)
        told.append(str(await run.get()))
        told += [str(event) async for event in run.events()]
    key = (file.folder / file.api_key).read_text().strip()
    rest = []
    async with httpx.AsyncClient(base_url=file.rest, headers={"authorization": f"Bearer {key}"}, timeout=20) as client:
        for id in runs:
            rest.append((await client.get(f"/v1/runs/{id}")).content)
            rest.append((await client.get(f"/v1/runs/{id}:watch")).content)
        body = {"arguments": {"token": OF_A_CALLER}, "options": {"secrets": [OF_A_CALLER]}}
        rest.append((await client.post("/v1/functions/leaking.tell:call", json=body)).content)
    return {"gRPC": "".join(told).encode(), "REST": b"".join(rest)}


async def failed_calls(mesh: Mesh) -> bytes:
    """Returns what a caller that says which of its arguments is a secret hears of its calls."""
    heard: list[str] = []
    options = CallOptions(secrets=[OF_A_CALLER])
    for function in FUNCTIONS:
        with pytest.raises(ParadeError) as failure:
            heard.extend([str(event) async for event in mesh.events(f"leaking.{function}", {"token": OF_A_CALLER}, options=options)])
        heard.append(f"{failure.value} {failure.value.metadata}")
    return "".join(heard).encode()


async def arrived(mesh: Mesh, runs: int) -> bool:
    """Tells whether the monitor has the agent's lines of the failures."""
    wanted = monitor_pb2.LogFilter(service="leaking", severity=monitor_pb2.SEVERITY_ERROR)
    return len(await mesh.logs(wanted, runs)) >= runs // 2


def outputs(folder: Path, runs: list[str]) -> dict[str, bytes]:
    """Returns what commands print."""
    shown = [commands.parade(folder, "run", "show", id).stdout for id in runs[:: len(FUNCTIONS) - 1]]
    shown += [commands.parade(folder, "trace", id).stdout for id in runs[:: len(FUNCTIONS)]]
    started = commands.parade(folder, "run", "start", "tell-0")
    return {
        "runs": "".join(shown).encode(),
        "started": (started.stdout + started.stderr).encode(),
        "logs": commands.parade(folder, "logs", "--last", "1000").stdout.encode(),
    }
