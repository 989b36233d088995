"""Who asks, and for whom, is what the certificate says; a service that may act for others says the rest."""

from pathlib import Path

import pytest

from parade.wire.errors import ParadeError, Reason
from parade.wire.identity import ANONYMOUS, DEFAULT_DOMAIN, Identity
from parade.wire.metadata import on_behalf_of
from parade.wire.peer import NOBODY
from parade.wire.peers import Peers
from parade.wire.revocations import Revocations
from parade_chassis.context import RequestContext, of_request
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
