"""Renewals: what a retry does, what a thief does, and what an instance does whose certificate the store has lost."""

import asyncio
from datetime import timedelta

import pytest

from parade.wire.certificates import new_key_and_request
from parade.wire.errors import ParadeError, Reason
from parade.wire.identity import Identity
from parade.wire.peer import CERTIFICATE, Refusal
from parade_agent_manager.certificate import Certificate, CertificateState
from parade_agent_manager.enrolment import Enrolled
from parade_agent_manager.model import InstanceState
from tests.support.registrations import registration
from tests.unit.agent_manager.conftest import LIFETIME, Manager, manager_of


def request() -> bytes:
    return new_key_and_request()[1]


async def enrolled(manager: Manager, csr: bytes = b"") -> Enrolled:
    token = await manager.enrolment.create_token("default", "cleaner", 600, "somebody")
    return await manager.enrolment.enrol(token.secret, csr or request())


async def renew(manager: Manager, identity: Identity, shown: Certificate, csr: bytes = b"") -> Certificate:
    return await manager.enrolment.renew(identity, shown.chain.encode(), csr or request())


async def states(manager: Manager) -> dict[str, CertificateState]:
    known, _ = await manager.revoker.certificates("default", "", None, 0, "")
    return {one.certificate.serial: one.state for one in known}


async def test_a_renewal_supersedes_the_certificate_that_was_shown(manager: Manager) -> None:
    first = await enrolled(manager)
    await manager.clock.advance(1800)

    second = await renew(manager, first.identity, first.certificate)

    assert second.spiffe_id == first.certificate.spiffe_id
    assert second.expires == manager.clock.now() + LIFETIME
    assert await states(manager) == {first.certificate.serial: CertificateState.SUPERSEDED, second.serial: CertificateState.ACTIVE}


async def test_a_retry_of_a_renewal_gives_the_same_certificate(manager: Manager) -> None:
    first, csr = await enrolled(manager), request()

    answers = await asyncio.gather(*(renew(manager, first.identity, first.certificate, csr) for _ in range(20)))

    assert len(set(answers)) == 1
    assert len(await states(manager)) == 2


async def test_a_renewal_demands_another_key(manager: Manager) -> None:
    csr = request()
    first = await enrolled(manager, csr)

    with pytest.raises(ParadeError) as raised:
        await renew(manager, first.identity, first.certificate, csr)

    assert raised.value.reason is Reason.INVALID_ARGUMENTS
    assert "fresh" in str(raised.value)
    assert await states(manager) == {first.certificate.serial: CertificateState.ACTIVE}


async def test_a_renewal_does_not_go_back_to_a_key_of_before(manager: Manager) -> None:
    csr = request()
    first = await enrolled(manager, csr)
    second = await renew(manager, first.identity, first.certificate)

    with pytest.raises(ParadeError) as raised:
        await renew(manager, first.identity, second, csr)

    assert raised.value.reason is Reason.INVALID_ARGUMENTS


async def test_a_superseded_certificate_used_again_locks_the_identity_and_alarms(
    manager: Manager, capsys: pytest.CaptureFixture[str]
) -> None:
    first = await enrolled(manager)
    await manager.engine.register(first.identity, registration())
    stolen = first.certificate
    second = await renew(manager, first.identity, first.certificate)

    with pytest.raises(ParadeError) as thief:
        await renew(manager, first.identity, stolen)
    with pytest.raises(ParadeError) as holder:
        await renew(manager, first.identity, second)

    assert [caught.value.metadata[CERTIFICATE] for caught in (thief, holder)] == [Refusal.REVOKED, Refusal.REVOKED]
    assert set((await states(manager)).values()) == {CertificateState.REVOKED}
    assert "superseded certificate used again" in capsys.readouterr().err
    known = manager.registry.instance(first.identity.instance)
    assert known is not None
    assert known.state is InstanceState.GONE


async def test_of_two_holders_of_one_certificate_who_renew_at_once_none_keeps_the_identity(manager: Manager) -> None:
    first = await enrolled(manager)

    answers = await asyncio.gather(*(renew(manager, first.identity, first.certificate) for _ in range(2)), return_exceptions=True)

    assert sum(isinstance(answer, Certificate) for answer in answers) == 1
    assert set((await states(manager)).values()) == {CertificateState.REVOKED}


async def test_a_locked_identity_cannot_come_back_by_its_token(manager: Manager) -> None:
    token, csr = await manager.enrolment.create_token("default", "cleaner", 3600, "somebody"), request()
    first = await manager.enrolment.enrol(token.secret, csr)
    await manager.revoker.revoke_identity(first.identity.uri, "default", "", "somebody")

    with pytest.raises(ParadeError) as raised:
        await manager.enrolment.enrol(token.secret, csr)

    assert raised.value.reason is Reason.UNAUTHENTICATED


async def test_a_locked_identity_stays_locked_over_a_restart(manager: Manager) -> None:
    first = await enrolled(manager)
    await manager.engine.register(first.identity, registration())
    await manager.revoker.lock(first.identity, "stolen", "somebody")

    restarted = manager_of(manager.store, manager.credentials, manager.clock)
    await restarted.engine.load()
    await restarted.revoker.load()

    with pytest.raises(ParadeError):
        await renew(restarted, first.identity, first.certificate)
    assert len(restarted.refused) == 1


async def test_a_certificate_that_the_store_has_lost_is_taken_up_and_guarded_like_any_other(manager: Manager) -> None:
    first = await enrolled(manager)
    await manager.credentials.remove_certificates(first.certificate.expires)

    second = await renew(manager, first.identity, first.certificate)
    with pytest.raises(ParadeError) as thief:
        await renew(manager, first.identity, first.certificate)

    assert second.spiffe_id == first.identity.uri
    assert thief.value.metadata[CERTIFICATE] == Refusal.REVOKED


async def test_certificates_that_have_ended_are_forgotten(manager: Manager) -> None:
    first = await enrolled(manager)
    await manager.clock.advance(1800)
    second = await renew(manager, first.identity, first.certificate)
    await manager.clock.advance(1800)

    await manager.revoker.forget_expired()

    assert list(await states(manager)) == [second.serial]
    assert second.expires - manager.clock.now() == timedelta(minutes=30)
