"""Names are read and written alike, and nothing else passes for one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parade.wire.identity import ANONYMOUS, SERVICES, Identity, Kind

names = st.from_regex(r"[a-z][a-z0-9-]{0,39}", fullmatch=True)


@given(names, names, names)
def test_an_agents_id_is_read_as_it_was_written(name: str, instance: str, namespace: str) -> None:
    identity = Identity.agent(name, instance, namespace)

    assert Identity.parse(identity.uri) == identity


@given(names, names)
def test_a_clients_id_is_read_as_it_was_written(name: str, namespace: str) -> None:
    identity = Identity.client(name, namespace)

    assert Identity.parse(identity.uri) == identity


@pytest.mark.parametrize("name", SERVICES)
def test_a_services_id_is_read_as_it_was_written(name: str) -> None:
    identity = Identity.service(name)

    assert Identity.parse(identity.uri) == identity
    assert "_" not in identity.server_name


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "https://parade.local/service/scheduler",
        "spiffe://parade.local/service/unheard-of",
        "spiffe://parade.local/ns/default/agent/analyst",
        "spiffe://parade.local/ns/Default/client/dev",
        "spiffe://parade.local/ns/default/client/dev/more",
        "spiffe://parade.local/ns//client/dev",
        "spiffe:///service/scheduler",
        "spiffe://parade.local/ns/default/agent/../../service/scheduler",
    ],
)
def test_what_is_no_id_of_ours_is_nobody(uri: str) -> None:
    assert Identity.parse(uri) is None


def test_the_anonymous_have_no_id() -> None:
    assert ANONYMOUS.kind is Kind.ANONYMOUS
    assert ANONYMOUS.uri == ""
