"""`parade.testing.Mesh`, as a user's test has it."""

import pytest

import parade
from parade.testing import Mesh


def adder() -> parade.Agent:
    agent = parade.Agent("adder")

    @agent.function(effect="pure")
    async def add(left: int, right: int) -> int:
        return left + right

    return agent


async def test_a_users_agent_is_called_over_a_real_mesh() -> None:
    async with Mesh() as mesh:
        await mesh.join(adder())

        assert await mesh.client.call("adder.add", left=2, right=3) == 5
        with pytest.raises(parade.ParadeError) as failed:
            await mesh.client.call("adder.add", left="two", right=3)

        flow = parade.Workflow("sum", inputs={"left": {"type": "integer"}})
        total = flow.step("total", "adder.add", {"left": flow.inputs.left, "right": 1})
        flow.output("total", total.output)
        await mesh.client.put_workflow(flow)
        run = await mesh.client.start("sum", left=41)

        assert await run.result(timeout=20) == {"total": 42}
    assert failed.value.reason is parade.Reason.INVALID_ARGUMENTS
