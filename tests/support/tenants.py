"""Two tenants of one mesh: `default`, which has one of everything that can be named, and `rival`, which asks for it.

What `default` has holds a secret that the rival never says, so that an answer which holds it has leaked, whatever it looks like.
"""

import asyncio
import json
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from parade.call_options import CallOptions
from parade.client import Mesh, connect
from parade.wire.errors import ParadeError
from parade.wire.identity import Identity
from parade.wire.mesh_file import MeshFile
from tests.integration.test_access import MeshAuthority
from tests.support.asking import METHODS, Ports, message_class
from tests.support.mesh import agent_process, ready
from tests.support.roles import let_in
from tests.support.waiting import eventually

RIVAL: Final = "rival"
CLIENT: Final = Identity.client("dev", RIVAL)
AGENT: Final = Identity.agent("worker", "i-rival", RIVAL)
FLOW: Final = """
name: {name}
description: {secret}
inputs: {{text: {{type: string}}}}
steps:
  say: {{call: {function}, with: {arguments}}}
  sure: {{wait: {{approval: {{message: "{secret}"}}}}, needs: say}}
"""
APPROVAL: Final = """
@id("kept") @approval("operator")
forbid (principal, action == Parade::Action::"call", resource == Parade::Function::"tested.storm");
"""


@dataclass(frozen=True, slots=True)
class Things:
    """What a tenant has, by the kind of thing: the names and ids by which each can be asked for."""

    named: dict[str, str]
    pages: dict[str, str]
    """The token of the second page of each list, by its method."""
    secret: str
    """What stands in all that it has, and in nothing that names it."""


def another(kind: str, name: str) -> str:
    """Returns a name of the same shape that names nothing."""
    count = 3 if kind == "client" else 6
    first = count if kind == "page" else 0  # of the list that a token is of, its beginning or its end tells
    return "".join(map(_other, name[:first])) + name[first:-count] + "".join(map(_other, name[-count:]))


def _other(letter: str) -> str:
    for alphabet in ("0123456789", "abcdef", "ABCDEF"):
        if letter in alphabet:
            return alphabet[(alphabet.index(letter) + 1) % len(alphabet)]
    if not letter.isalpha():
        return letter
    low = "j" if letter in "hH" else "h"
    return low if letter.islower() else low.upper()


@contextmanager
def rival(mesh: MeshFile, folder: Path) -> Iterator[MeshFile]:
    """Lets a second tenant in for the block: a client that is admin of its own namespace, and an agent of its own."""
    files = MeshAuthority(mesh).files(CLIENT, folder=folder)
    file = MeshFile(
        folder, mesh.services, mesh.enrolment, mesh.rest, mesh.domain, RIVAL,
        str(files.trust_bundle), str(files.certificate), str(files.private_key), "api-key",
    )  # fmt: skip
    let_in(mesh, CLIENT)
    file.write()
    with agent_process(file, "tests.support.working_agent:agent"):
        made = in_a_loop_of_its_own(_settle(file))
        (folder / "api-key").write_text(made)
        yield file


async def _settle(file: MeshFile) -> str:
    async with connect(file) as mesh:
        await ready(mesh, 1, "worker")

        async def answers() -> bool:
            try:
                return bool(await mesh.call("worker.nap", seconds=0) == "slept")
            except ParadeError:
                return False

        await eventually(answers, within=20)
        await mesh.put_workflow(FLOW.format(name="own", secret="own", function="worker.nap", arguments="{seconds: 0}"))
        made = await mesh.create_key("rival's", "admin")
        return made.secret


def in_a_loop_of_its_own(work: Any) -> Any:
    """Awaits something from where a loop may run already."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: asyncio.run(work)).result(120)


async def filled(file: MeshFile) -> Things:
    """Makes one of everything in the mesh's own namespace."""
    secret, mark = f"secret-{secrets.token_hex(8)}", f"mark-{secrets.token_hex(4)}"
    async with connect(file) as mesh:
        await ready(mesh, 2)
        named: dict[str, str] = {"namespace": "default", "agent": "tested", "function": "tested.echo", "mark": mark}
        named["label"], named["input"] = f"mark={mark}", f"text={secret}"
        named["client"] = Identity.client("dev").uri
        named["digest"] = (await mesh.put_artifact(json.dumps({"text": secret}).encode(), media_type="application/json")).digest
        await _call(mesh, named, secret)
        await _start(mesh, named, secret, mark)
        await _approvals(mesh, named)
        for number in range(2):
            named["key"] = (await mesh.create_key(f"{secret} {number}", "viewer")).key.id
        named["instance"] = (await mesh.agent("tested")).instances[0].id
        named["identity"] = Identity.agent("tested", named["instance"]).uri
        named["serial"] = (await mesh.certificates(named["identity"]))[0].serial
        pages = await _pages(file)
    del named["input"]  # it holds the secret
    return Things(named, pages, secret)


async def _call(mesh: Mesh, named: dict[str, str], secret: str) -> None:
    keyed = CallOptions(idempotency_key=f"key-{secrets.token_hex(8)}")
    ended = await mesh.start_call("tested.echo", text=secret, options=keyed)
    await ended.wait(20)
    named["ended_call"], named["idempotency_key"] = ended.id, keyed.idempotency_key
    named["call"] = (await mesh.start_call("tested.sleep", seconds=55)).id


async def _start(mesh: Mesh, named: dict[str, str], secret: str, mark: str) -> None:
    flow = named["workflow"] = f"kept-{secrets.token_hex(4)}"
    await mesh.put_workflow(FLOW.format(name=flow, secret=secret, function="tested.echo", arguments='{text: "${{ inputs.text }}"}'))
    await mesh.put_workflow(FLOW.format(name=f"{flow}-b", secret=secret, function="tested.echo", arguments='{text: "a"}'))
    named["request_id"] = f"request-{secrets.token_hex(8)}"
    runs = [
        await mesh.start(flow, text=secret, labels={"mark": mark}, request_id=named["request_id"]),
        await mesh.start(flow, text=secret, labels={"mark": mark}),
    ]
    named["run"] = runs[0].id
    named["trace"] = (await runs[0].get()).trace_id
    named["schedule"] = f"kept-{secrets.token_hex(4)}"
    for end in ("", "-b"):
        await mesh.put_schedule(named["schedule"] + end, flow, "0 0 1 1 *", inputs={"text": secret})
    named["event"] = await mesh.publish_event("kept", {"text": secret}, event_id=f"event-{secrets.token_hex(8)}")

    async def asked_for() -> bool:
        return len(await mesh.approvals(workflow=flow)) == len(runs)

    async def traced() -> bool:
        try:
            return {span.service for span in await mesh.trace(named["trace"])} >= {"client", "scheduler", "dispatcher", "tested"}
        except ParadeError:
            return False

    await eventually(asked_for, within=20)
    await eventually(traced, within=20)


async def _approvals(mesh: Mesh, named: dict[str, str]) -> None:
    """Has two calls wait for somebody's approval, of a function that no other test calls with such arguments."""
    named["policy"] = f"kept-{secrets.token_hex(4)}"
    for end in ("", "-b"):
        await mesh.put_policy(named["policy"] + end, APPROVAL)

    async def asked_for() -> bool:
        for _ in range(2):
            await mesh.start_call("tested.storm", folder="nowhere")
        return len(await mesh.call_approvals(function="tested.storm")) > 1

    await eventually(asked_for, within=20)
    named["approval"] = (await mesh.call_approvals(function="tested.storm"))[0].id


async def _pages(file: MeshFile) -> dict[str, str]:
    found = {}
    async with Ports(file) as ports:
        for name, method in METHODS.items():
            if "page_token" in method.input_type.fields_by_name:
                answer = await ports.ask(Identity.client("dev"), method, message_class(method.input_type)(page_size=1))
                [found[name]] = [message.next_page_token for message in answer.messages]
    return found


async def emptied(file: MeshFile, things: Things) -> None:
    """Takes away what others in the namespace would notice."""
    named = things.named
    async with connect(file) as mesh:
        for end in ("", "-b"):
            await mesh.delete_policy(named["policy"] + end)
            await mesh.delete_schedule(named["schedule"] + end)
        for call in await mesh.calls(function="tested.storm"):
            await mesh.started_call(call.id).cancel()
        await mesh.started_call(named["call"]).cancel()
        await mesh.cancel_runs(workflow=named["workflow"])


async def snapshot(file: MeshFile, things: Things) -> dict[str, Any]:
    """Returns how what a tenant has stands, to be compared with how it stands later."""
    named = things.named
    async with connect(file) as mesh:
        agent = await mesh.agent("tested")
        run = await mesh.run(named["run"]).get()
        call = await mesh.started_call(named["call"]).status()
        content = await mesh.artifact(named["digest"])
        return {
            "agent": (agent.state, {instance.id: instance.state for instance in agent.instances}),
            "run": (run.state, run.labels["mark"]),
            "call": call.cancellation,
            "artifact": content.size,
            "workflow": (await mesh.workflow(named["workflow"])).version,
            "schedule": (await mesh.schedule(named["schedule"])).paused,
            "policy": (await mesh.policy(named["policy"])).version,
            "call approval": (await mesh.call_approval(named["approval"])).state,
            "approvals": len(await mesh.approvals(workflow=named["workflow"])),
            "keys": {key.id for key in await mesh.keys() if not key.HasField("revoke_time")},
            "certificate": (await mesh.certificates(named["identity"]))[0].state,
            "roles": {(grant.subject, grant.namespace, grant.role) for grant in await mesh.roles()},
        }
