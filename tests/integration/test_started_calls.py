"""Calls that outlive their callers, and effects, on a whole mesh: over deaths of dispatchers, over two of them, on a full disk."""

import asyncio
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from parade.client import connect
from parade.testing import LocalMesh
from parade.v1 import call_pb2, dispatcher_pb2, dispatcher_pb2_grpc, error_pb2
from parade.wire.channel import Channel
from parade.wire.errors import ParadeError, Reason
from parade.wire.identity import Identity
from parade.wire.mesh_file import MeshFile
from tests.support.mesh import ROOT, agent_process, environment, kill, ready, wait_until_back
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(120)

PICK_UP = """
import asyncio, sys
from parade.client import connect

async def main():
    async with connect() as mesh:
        print(await mesh.started_call(sys.argv[1]).result())

asyncio.run(main())
"""

Stubs = list[Any]


@pytest.fixture
def two(tmp_path: Path) -> Iterator[MeshFile]:
    """A mesh with two dispatchers and one instance of the tested agent."""
    with LocalMesh(tmp_path, dispatchers=2) as file, agent_process(file):
        yield file


@pytest.fixture
def lone(own_mesh: MeshFile) -> Iterator[MeshFile]:
    """A mesh with one dispatcher and one instance of the tested agent."""
    with agent_process(own_mesh):
        yield own_mesh


@pytest.fixture
async def stubs(request: pytest.FixtureRequest) -> AsyncIterator[Stubs]:
    """A stub of each dispatcher, all of which know the agent."""
    mesh: MeshFile = request.getfixturevalue("two" if "two" in request.fixturenames else "lone")
    async with AsyncExitStack() as stack:
        async with connect(mesh, traced=False) as client:
            await ready(client, 1)
        found = []
        for address in mesh.services["dispatcher"].split(","):
            name = Identity.service("dispatcher", mesh.domain).server_name
            channel = await stack.enter_async_context(Channel(address, mesh.certificates(), name, peer="dispatcher"))
            stub: Any = dispatcher_pb2_grpc.DispatcherServiceStub(channel)  # type: ignore[call-overload]
            await eventually(lambda stub=stub: knows(stub), within=20)  # type: ignore[misc]
            found.append(stub)
        yield found


async def knows(stub: Any) -> bool:
    try:
        await stub.Call(request("tested.echo", dispatcher_pb2.CallRequest, text=""), timeout=5)
    except ParadeError:
        return False
    return True


def request(function: str, kind: Any = dispatcher_pb2.StartCallRequest, key: str = "", **arguments: Any) -> Any:
    message = kind(function=function)
    message.arguments.data = json.dumps(arguments).encode()
    message.options.idempotency_key = key
    return message


async def start(stub: Any, function: str, **arguments: Any) -> call_pb2.Call:
    response = await stub.StartCall(request(function, **arguments), timeout=10)
    call: call_pb2.Call = response.call
    return call


async def end(stub: Any, call_id: str, within: float = 30) -> call_pb2.Call:
    """Waits until a call has ended, over the restart of a dispatcher too."""
    call = call_pb2.Call()

    async def ended() -> bool:
        nonlocal call
        wanted = dispatcher_pb2.WaitCallRequest(call_id=call_id)
        wanted.timeout.seconds = 5
        try:
            call = (await stub.WaitCall(wanted, timeout=10)).call
        except ParadeError as error:
            if error.reason not in {Reason.UNAVAILABLE, Reason.CANCELLED}:
                raise
            await asyncio.sleep(0.1)
            return False
        return bool(call.state >= call_pb2.CALL_STATE_SUCCEEDED)

    await eventually(ended, within=within)
    return call


async def is_running(stub: Any, call_id: str) -> bool:
    response = await stub.GetCall(dispatcher_pb2.GetCallRequest(call_id=call_id), timeout=10)
    return bool(response.call.state == call_pb2.CALL_STATE_RUNNING)


async def test_another_process_picks_a_call_up_by_its_id(lone: MeshFile, stubs: Stubs) -> None:
    call = await start(stubs[0], "tested.sleep", seconds=1.0)

    command = [sys.executable, "-c", PICK_UP, call.id]
    picked = await asyncio.to_thread(
        subprocess.run, command, capture_output=True, text=True, check=False, timeout=60, cwd=ROOT, env=environment(lone)
    )

    assert picked.returncode == 0, picked.stderr
    assert int(picked.stdout) > 0
    assert (await end(stubs[0], call.id)).state == call_pb2.CALL_STATE_SUCCEEDED


async def test_items_are_kept_for_whoever_asks(lone: MeshFile, stubs: Stubs) -> None:
    call = await start(stubs[0], "tested.count", to=5000)

    ended = await end(stubs[0], call.id)
    items: list[int] = []
    while len(items) < ended.item_count:
        response = await stubs[0].GetCall(dispatcher_pb2.GetCallRequest(call_id=call.id, items_after=len(items)), timeout=10)
        items += [json.loads(item.data) for item in response.items]

    assert ended.state == call_pb2.CALL_STATE_SUCCEEDED
    assert items == list(range(5000))


async def test_calls_outlive_the_dispatcher_that_makes_them(lone: MeshFile, stubs: Stubs, tmp_path: Path) -> None:
    [stub] = stubs
    pure = [await start(stub, "tested.sleep", seconds=2.0) for _ in range(5)]
    effects = [await start(stub, "tested.pay", folder=str(tmp_path), seconds=2.0) for _ in range(3)]
    for call in (*pure, *effects):
        await eventually(lambda call=call: is_running(stub, call.id))  # type: ignore[misc]

    killed = await asyncio.to_thread(kill, lone, "dispatcher")
    await asyncio.to_thread(wait_until_back, lone, "dispatcher", killed)

    for call in pure:
        ended = await end(stub, call.id)
        assert ended.state == call_pb2.CALL_STATE_SUCCEEDED, ended
    for call in effects:
        ended = await end(stub, call.id)
        attached = ended.state == call_pb2.CALL_STATE_SUCCEEDED
        assert attached or ended.error.reason == error_pb2.ERROR_REASON_OUTCOME_UNKNOWN, ended
    assert len((tmp_path / "paid").read_text().splitlines()) == 3


async def test_an_effect_is_brought_about_once_over_the_death_of_the_dispatcher(lone: MeshFile, stubs: Stubs, tmp_path: Path) -> None:
    [stub] = stubs
    asked = request("tested.pay", dispatcher_pb2.CallRequest, key="one", folder=str(tmp_path), seconds=0)
    first = await stub.Call(asked, timeout=20)
    killed = await asyncio.to_thread(kill, lone, "dispatcher")
    await asyncio.to_thread(wait_until_back, lone, "dispatcher", killed)
    await eventually(lambda: knows(stub), within=20)

    second = await stub.Call(asked, timeout=20)
    other = request("tested.pay", dispatcher_pb2.CallRequest, key="one", folder=str(tmp_path), seconds=0.5)
    with pytest.raises(ParadeError) as raised:
        await stub.Call(other, timeout=20)

    assert (second.result.data, second.call_id) == (first.result.data, first.call_id)
    assert raised.value.reason is Reason.ALREADY_EXISTS
    assert len((tmp_path / "paid").read_text().splitlines()) == 1


async def test_a_call_is_waited_for_and_cancelled_at_another_dispatcher(two: MeshFile, stubs: Stubs) -> None:
    one, other = stubs
    short, long = await start(one, "tested.sleep", seconds=0.5), await start(one, "tested.sleep", seconds=50.0)
    await eventually(lambda: is_running(other, long.id))

    ended = await end(other, short.id)
    await other.CancelCall(dispatcher_pb2.CancelCallRequest(call_id=long.id), timeout=10)
    cancelled = await end(other, long.id)
    listed = await other.ListCalls(dispatcher_pb2.ListCallsRequest(function="tested"), timeout=10)

    assert ended.state == call_pb2.CALL_STATE_SUCCEEDED
    assert cancelled.state == call_pb2.CALL_STATE_CANCELLED
    assert cancelled.cancellation == call_pb2.CANCELLATION_STOPPED
    assert [call.id for call in listed.calls] == [long.id, short.id]


async def test_a_key_holds_for_all_dispatchers(two: MeshFile, stubs: Stubs, tmp_path: Path) -> None:
    asked = request("tested.pay", dispatcher_pb2.CallRequest, key="one", folder=str(tmp_path), seconds=0.5)

    responses = await asyncio.gather(*(stub.Call(asked, timeout=20) for stub in stubs * 5))

    assert {response.result.data for response in responses} == {b'"paid"'}
    assert len((tmp_path / "paid").read_text().splitlines()) == 1


async def test_a_full_disk_refuses_what_must_be_written_and_nothing_else(lone: MeshFile, stubs: Stubs, tmp_path: Path) -> None:
    [stub] = stubs
    before = await start(stub, "tested.echo", text="before")
    await end(stub, before.id)
    pid = next(one["pid"] for one in json.loads((lone.folder / "state.json").read_text())["services"] if one["name"] == "dispatcher")
    limits = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (4096, limits[1]))

    refused = []
    for asked in (
        stub.StartCall(request("tested.echo", text="x")),
        stub.Call(request("tested.pay", dispatcher_pb2.CallRequest, folder=str(tmp_path), seconds=0)),
    ):
        with pytest.raises(ParadeError) as raised:
            await asyncio.wait_for(asked, 20)
        refused.append(raised.value.reason)
    pure = await stub.Call(request("tested.echo", dispatcher_pb2.CallRequest, text="still"), timeout=10)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)
    after = await start(stub, "tested.echo", text="after")

    assert set(refused) <= {Reason.NO_CAPACITY, Reason.UNAVAILABLE}
    assert pure.result.data == b'"still"'
    assert not (tmp_path / "paid").exists()
    assert (await end(stub, after.id)).state == call_pb2.CALL_STATE_SUCCEEDED
    os.kill(pid, 0)


async def test_calls_are_adopted_by_the_dispatcher_that_is_left(two: MeshFile, stubs: Stubs) -> None:
    one, other = stubs
    call = await start(one, "tested.sleep", seconds=3.0)
    await eventually(lambda: is_running(other, call.id))
    state = json.loads((two.folder / "state.json").read_text())
    pid, supervisor = (next(entry["pid"] for entry in state["services"] if entry["id"] == "dispatcher-0"), state["pid"])

    os.kill(pid, signal.SIGSTOP)  # it is not started anew, for it has not ended
    try:
        ended = await end(other, call.id, within=40)
    finally:
        os.kill(pid, signal.SIGCONT)

    assert supervisor != pid
    assert ended.state == call_pb2.CALL_STATE_SUCCEEDED
    assert ended.attempts == 2
    assert (await end(one, call.id)).attempts == 2
