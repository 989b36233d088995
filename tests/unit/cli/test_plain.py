from parade.cli.plain import plain, state_name
from parade.v1 import agent_manager_pb2


def test_a_message_has_the_names_and_forms_of_rest() -> None:
    agent = agent_manager_pb2.Agent(name="greeter", state=agent_manager_pb2.AGENT_STATE_ACTIVE)
    instance = agent.instances.add(id="ins_1", pid=2**40, state=agent_manager_pb2.INSTANCE_STATE_READY, labels={"zone": "a"})
    instance.register_time.FromJsonString("2026-01-31T09:30:00Z")
    function = agent.functions.add(name="greet")
    function.arguments_schema.data = b'{"type": "object"}'
    function.timeout.FromMilliseconds(1500)

    found = plain(agent)

    assert found["state"] == "ACTIVE"
    assert found["instances"][0]["state"] == "READY"
    assert found["instances"][0]["pid"] == 2**40
    assert found["instances"][0]["labels"] == {"zone": "a"}
    assert found["instances"][0]["registerTime"] == "2026-01-31T09:30:00Z"
    assert "heartbeatTime" not in found["instances"][0]
    assert found["functions"][0]["argumentsSchema"] == {"type": "object"}
    assert found["functions"][0]["timeout"] == "1.500s"


def test_a_state_that_this_version_does_not_know_is_its_number() -> None:
    instance = agent_manager_pb2.Instance()
    instance.MergeFromString(b"\x30\x63")

    assert state_name(instance) == "99"
