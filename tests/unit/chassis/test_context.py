"""Who asks, and for whom, is what the certificate says; a service that may act for others says the rest."""

from pathlib import Path

import pytest

from parade.wire.errors import ParadeError, Reason
from parade.wire.identity import ANONYMOUS, DEFAULT_DOMAIN, Identity
from parade.wire.metadata import NAMESPACE, on_behalf_of
from parade.wire.peer import NOBODY
from parade.wire.peers import Peers
from parade.wire.revocations import Revocations
from parade.wire.roles import EVERYWHERE, Role
from parade_chassis.context import RequestContext, enter, of_request, seen_namespace
from parade_chassis.grants import Granted, Grants
from tests.support.bad_certificates import bad
from tests.support.certificates import Authority

METHOD = "/parade.v1.DispatcherService/Call"
ANN = Identity.client("ann", "sales")
FOR_BOB = dict(on_behalf_of("support", "spiffe://parade.local/ns/support/client/bob"))


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def asked(authority: Authority, identity: Identity | None, metadata: dict[str, str | bytes]) -> RequestContext:
    peers = Peers(DEFAULT_DOMAIN, authority.source(Identity.service("dispatcher")), Revocations())
    shown = {} if identity is None else {"x509_pem_cert": [authority.certificates(identity).certificate_chain]}
    return of_request(METHOD, shown, metadata, peers)


@pytest.mark.parametrize("identity", [ANN, Identity.agent("analyst", "i-1", "sales"), Identity.service("monitor")])
def test_whoever_acts_for_nobody_else_acts_for_itself(authority: Authority, identity: Identity) -> None:
    request = asked(authority, identity, dict(FOR_BOB))

    assert (request.caller, request.namespace, request.principal) == (identity, identity.namespace, identity.uri)
    assert request.peer.identity == identity


@pytest.mark.parametrize("service", ["gateway", "scheduler", "dispatcher"])
def test_a_service_that_acts_for_others_says_for_whom(authority: Authority, service: str) -> None:
    request = asked(authority, Identity.service(service), dict(FOR_BOB))

    assert request.caller == Identity.service(service)
    assert (request.namespace, request.principal) == ("support", "spiffe://parade.local/ns/support/client/bob")


def test_a_service_that_says_nothing_acts_for_itself(authority: Authority) -> None:
    request = asked(authority, Identity.service("gateway"), {})

    assert (request.namespace, request.principal) == ("", Identity.service("gateway").uri)


@pytest.mark.parametrize("said", ["*", "Sales", "sales ", "sales/../support", "_uploads", "1a", "a" * 41])
@pytest.mark.parametrize("service", ["gateway", "scheduler", "dispatcher"])
def test_what_a_service_calls_a_namespace_is_one(authority: Authority, service: str, said: str) -> None:
    with pytest.raises(ParadeError) as refused:
        asked(authority, Identity.service(service), dict(on_behalf_of(said, "key:0123456789")))

    assert (refused.value.reason, refused.value.violations[0].field) == (Reason.INVALID_ARGUMENTS, NAMESPACE)


@pytest.mark.parametrize(
    ("subject", "namespace", "role", "expected"),
    [
        (ANN.uri, EVERYWHERE, Role.ADMIN, EVERYWHERE),
        (ANN.uri, EVERYWHERE, Role.OPERATOR, "sales"),
        (ANN.uri, "sales", Role.ADMIN, "sales"),
        ("spiffe://parade.local/ns/sales/client/bob", EVERYWHERE, Role.ADMIN, "sales"),
    ],
)
def test_only_who_is_admin_of_all_namespaces_sees_all(
    authority: Authority, subject: str, namespace: str, role: Role, expected: str
) -> None:
    grants = Grants()
    grants.replace([Granted(subject, namespace, role)])
    enter(asked(authority, ANN, {}))

    assert seen_namespace(grants) == expected


def test_a_key_sees_its_namespace_whatever_role_the_gateway_says(authority: Authority) -> None:
    enter(asked(authority, Identity.service("gateway"), dict(on_behalf_of("sales", "key:0123456789", Role.ADMIN))))

    assert seen_namespace(Grants()) == "sales"


def test_who_shows_no_certificate_is_nobody(authority: Authority) -> None:
    request = asked(authority, None, dict(FOR_BOB))

    assert (request.caller, request.namespace, request.principal) == (ANONYMOUS, "", "")
    assert request.peer is NOBODY


def test_who_shows_a_bad_one_is_refused(authority: Authority) -> None:
    peers = Peers(DEFAULT_DOMAIN, authority.source(Identity.service("dispatcher")), Revocations())
    shown = bad("two ids", authority, ANN).certificate_chain

    with pytest.raises(ParadeError) as refused:
        of_request(METHOD, {"x509_pem_cert": [shown]}, {}, peers)

    assert refused.value.reason is Reason.UNAUTHENTICATED


def test_a_session_is_the_same_ones_over_the_renewal_of_its_certificate(authority: Authority) -> None:
    assert asked(authority, ANN, {}) == asked(authority, ANN, {})
