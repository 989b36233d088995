"""The files of cases that policies are tried by."""

from pathlib import Path

import pytest

from parade.cli.policy_cases import agent_id, read, subject_of
from parade.v1 import access_pb2, policy_pb2
from parade.wire.errors import ParadeError, Reason
from parade.wire.mesh_file import MeshFile
from tests.support.commands import blocks

PAGE = (Path(__file__).parents[3] / "docs/how-to/policies.md").read_text(encoding="utf-8")


@pytest.fixture
def mesh(tmp_path: Path) -> MeshFile:
    return MeshFile(tmp_path, domain="example.org", namespace="sales")


def test_the_cases_of_the_page_are_read(mesh: MeshFile) -> None:
    (text,) = blocks(PAGE, "yaml")

    cases = read(Path("payments.cases.yaml"), text)
    first, second = cases.messages(mesh)

    assert (cases.policy, cases.name) == ("payments.cedar", "")
    assert first == policy_pb2.PolicyCase(
        question=policy_pb2.PolicyQuestion(
            principal="key:4fJk29sLq0",
            role=access_pb2.ROLE_DEVELOPER,
            action="call",
            resource="payments.pay",
            labels=["money"],
            effect="effect",
        ),
        expected=policy_pb2.POLICY_EFFECT_DENY,
        expected_rules=["payments#no-keys"],
    )
    assert second.question.principal == "spiffe://example.org/ns/sales/agent/browser"
    assert second.question.role == access_pb2.ROLE_UNSPECIFIED
    assert [case.title for case in cases.cases] == ["key:4fJk29sLq0 call payments.pay", "agents do not clean up, whoever they act for"]


@pytest.mark.parametrize(
    ("text", "known_as"),
    [
        ("reporting", "spiffe://example.org/ns/sales/client/reporting"),
        ("agent:browser", "spiffe://example.org/ns/sales/agent/browser"),
        ("key:4fJk29sLq0", "key:4fJk29sLq0"),
        ("oidc:https://id.example#42", "oidc:https://id.example#42"),
        ("spiffe://example.org/ns/research/client/eve", "spiffe://example.org/ns/research/client/eve"),
    ],
)
def test_short_names_are_of_the_own_namespace(mesh: MeshFile, text: str, known_as: str) -> None:
    assert subject_of(text, mesh) == known_as
    assert agent_id("spiffe://example.org/ns/sales/agent/a", mesh) == "spiffe://example.org/ns/sales/agent/a"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("a: [", "is not YAML"),
        ("cases: 3", "cases: "),
        ("[]", "holds no cases"),
        ("cases: [{principal: a, action: fly, expect: deny}]", "cases.0.action: "),
        ("cases: [{principal: a, action: call}]", "cases.0.expect: "),
        ("cases: [{principal: a, action: call, expect: deny, wants: x}]", "cases.0.wants: "),
    ],
)
def test_what_is_no_file_of_cases_is_refused_with_every_fault(text: str, fault: str) -> None:
    with pytest.raises(ParadeError) as error:
        read(Path("cases.yaml"), text)

    assert error.value.reason is Reason.INVALID_ARGUMENTS
    assert fault in str(error.value)
