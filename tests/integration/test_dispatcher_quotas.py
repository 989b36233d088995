"""A namespace that takes all that it may have of a dispatcher leaves the others theirs."""

from pathlib import Path

import pytest

from parade.wire.errors import ParadeError, Reason
from parade.wire.identity import Identity
from parade.wire.session.opener import LostError
from parade_dispatcher.quotas import CallLimits
from tests.integration.dispatcher_harness import CLIENT, SessionAgent, never, running_mesh
from tests.support.waiting import eventually

OTHER = Identity.client("ann", "other")
NARROW = {"default": CallLimits(calls=3, sessions=2)}


async def test_a_namespace_has_so_many_calls_under_way_and_another_one_still_makes_its_own(tmp_path: Path) -> None:
    async with running_mesh(tmp_path, kind=SessionAgent, quotas=NARROW) as mesh:
        agent, elsewhere = await mesh.agent(), await mesh.agent(namespace="other")
        await mesh.knows(agent)
        agent.unary = never
        noisy, quiet = mesh.session(), mesh.session(OTHER)

        async def other_is_known() -> bool:
            try:
                return bool((await quiet.call()).instance_id == elsewhere.id)
            except ParadeError:
                return False

        await eventually(other_is_known)
        under_way = [noisy.begin() for _ in range(3)]
        await eventually(lambda: agent.running == 3)

        with pytest.raises(ParadeError) as refused:
            await noisy.call()
        served = [(await quiet.call()).instance_id for _ in range(20)]
        under_way[0].cancel()
        await eventually(lambda: agent.running == 2)
        noisy.begin()
        await eventually(lambda: agent.running == 3)

    assert (refused.value.reason, refused.value.metadata["quota"]) == (Reason.NO_CAPACITY, "calls")
    assert served == [elsewhere.id] * 20


async def test_a_namespace_opens_so_many_sessions_and_another_one_its_own(tmp_path: Path) -> None:
    async with running_mesh(tmp_path, kind=SessionAgent, quotas=NARROW) as mesh:
        await mesh.knows(await mesh.agent())
        first, second = mesh.session(), mesh.session(Identity.client("ann"))
        await first.call()
        await second.call()

        with pytest.raises(LostError) as refused:
            await mesh.session(CLIENT).call()
        with pytest.raises(ParadeError) as other:
            await mesh.session(OTHER).call()
        await second.link.close()

        async def let_in() -> bool:
            try:
                await mesh.session(CLIENT).call()
            except LostError:
                return False
            return True

        await eventually(let_in)

    assert (refused.value.reason, "may have 2 sessions open" in refused.value.message) == (Reason.NO_CAPACITY, True)
    assert other.value.reason is Reason.UNKNOWN_FUNCTION  # it was let in
