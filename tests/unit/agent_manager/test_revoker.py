"""Revocations: who may revoke whom, who hears of it, and for how long."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from parade.wire.certificates import new_key_and_request
from parade.wire.errors import ParadeError, Reason
from parade.wire.identity import Identity
from parade.wire.peer import NOBODY, Peer
from parade_agent_manager.access_feed import AccessChange
from parade_agent_manager.certificate import CertificateState, Revocation
from parade_agent_manager.enrolment import Enrolled
from parade_agent_manager.model import InstanceState
from parade_agent_manager.watchers import Watcher
from tests.support.registrations import registration
from tests.support.waiting import eventually
from tests.unit.agent_manager.conftest import Manager, manager_of

ADMIN = "spiffe://parade.local/ns/default/client/admin"
CLIENT = "spiffe://parade.local/ns/default/client/dev"
OPERATOR = Identity.service("agent_manager").uri
DISPATCHER = Identity.service("dispatcher").uri


async def enrolled(manager: Manager, namespace: str = "default") -> Enrolled:
    token = await manager.enrolment.create_token(namespace, "cleaner", 600, "somebody")
    made = await manager.enrolment.enrol(token.secret, new_key_and_request()[1])
    await manager.engine.register(made.identity, registration())
    return made


def state(manager: Manager, identity: Identity) -> InstanceState | None:
    instance = manager.registry.instance(identity.instance)
    return None if instance is None else instance.state


async def test_a_revoked_identity_is_refused_and_its_instance_gone(manager: Manager) -> None:
    one, other = await enrolled(manager), await enrolled(manager)

    revocation = await manager.revoker.revoke_identity(one.identity.uri, "default", "lost in a taxi", ADMIN)

    assert (revocation.subject, revocation.reason, revocation.by) == (one.identity.uri, "lost in a taxi", ADMIN)
    assert (state(manager, one.identity), state(manager, other.identity)) == (InstanceState.GONE, InstanceState.JOINING)
    assert len(manager.refused) == 1


async def test_a_revoked_certificate_is_refused_and_the_instance_that_has_no_newer_one_is_gone(manager: Manager) -> None:
    made = await enrolled(manager)
    serial = made.certificate.serial.upper()

    revocation = await manager.revoker.revoke_serial(f"00{serial}", "default", "", ADMIN)

    assert revocation.subject == made.certificate.serial
    assert revocation.expires == made.certificate.expires
    assert state(manager, made.identity) is InstanceState.GONE


async def test_an_instance_outlives_the_revocation_of_a_certificate_that_it_has_renewed(manager: Manager) -> None:
    made = await enrolled(manager)
    await manager.enrolment.renew(made.identity, made.certificate.chain.encode(), new_key_and_request()[1])

    await manager.revoker.revoke_serial(made.certificate.serial, "default", "", ADMIN)

    assert state(manager, made.identity) is InstanceState.JOINING
    assert manager.revoker.revoked(made.identity.uri) is None


async def test_to_revoke_again_changes_nothing_but_until_when_it_is_known(manager: Manager) -> None:
    first = await manager.revoker.revoke_identity(CLIENT, "default", "first", ADMIN)
    await manager.clock.advance(60)

    again = await asyncio.gather(*(manager.revoker.revoke_identity(CLIENT, "default", "second", ADMIN) for _ in range(20)))

    assert set(again) == {replace(first, expires=first.expires + timedelta(seconds=60))}
    assert await manager.credentials.revocations() == [again[0]]


@pytest.mark.parametrize("before", [timedelta(seconds=1), timedelta(0), timedelta(seconds=-1)])
async def test_who_is_revoked_again_towards_the_end_of_a_revocation_stays_out(manager: Manager, before: timedelta) -> None:
    first = await manager.revoker.revoke_identity(CLIENT, "default", "", ADMIN)
    await manager.clock.advance((first.expires - before - manager.clock.now()).total_seconds())

    with manager.feed.watch() as watcher:
        again = await manager.revoker.revoke_identity(CLIENT, "default", "", ADMIN)
        heard = await told(watcher, 1)

    left = timedelta(days=89).total_seconds()
    await manager.clock.advance(left)
    await manager.revoker.forget_expired()
    assert (again.expires - first.expires >= timedelta(days=89), heard) == (True, [CLIENT])
    assert manager.revoker.revoked(CLIENT) == again
    assert [one.expires for one in await manager.credentials.revocations()] == [again.expires]
    peer = Peer(Identity.client("dev"), CLIENT, "1", float("inf"), b"", NOBODY.authority)
    assert manager.refused.reason(peer, manager.clock.now().timestamp()) is not None


@pytest.mark.parametrize(
    ("subject", "reason"),
    [
        ("spiffe://parade.local/ns/other/client/dev", Reason.PERMISSION_DENIED),
        ("spiffe://parade.local/ns/other/agent/cleaner/i-1", Reason.PERMISSION_DENIED),
        (DISPATCHER, Reason.PERMISSION_DENIED),
        (ADMIN, Reason.FAILED_PRECONDITION),
        ("spiffe://elsewhere.local/ns/default/client/dev", Reason.INVALID_ARGUMENTS),
        ("spiffe://parade.local/nobody", Reason.INVALID_ARGUMENTS),
        ("dev", Reason.INVALID_ARGUMENTS),
    ],
)
async def test_a_namespace_revokes_its_own_alone(manager: Manager, subject: str, reason: Reason) -> None:
    with pytest.raises(ParadeError) as raised:
        await manager.revoker.revoke_identity(subject, "default", "", ADMIN)

    assert raised.value.reason is reason
    assert len(manager.refused) == 0


async def test_a_serial_number_of_another_namespace_is_one_that_does_not_exist(manager: Manager) -> None:
    made = await enrolled(manager, "other")

    faults = []
    for serial in (made.certificate.serial, "abc"):
        with pytest.raises(ParadeError) as raised:
            await manager.revoker.revoke_serial(serial, "default", "", ADMIN)
        faults.append((raised.value.reason, raised.value.message.replace(serial, "")))

    assert faults[0] == faults[1]
    assert faults[0][0] is Reason.NOT_FOUND
    assert state(manager, made.identity) is InstanceState.JOINING


@pytest.mark.parametrize("serial", ["", "0", "xyz", "f" * 41, "12 34"])
async def test_what_is_no_serial_number_is_said_to_be_none(manager: Manager, serial: str) -> None:
    with pytest.raises(ParadeError) as raised:
        await manager.revoker.revoke_serial(serial, "", "", OPERATOR)
    assert raised.value.reason is Reason.INVALID_ARGUMENTS


async def test_nobody_revokes_the_certificate_that_they_show(manager: Manager) -> None:
    with pytest.raises(ParadeError) as raised:
        await manager.revoker.revoke_serial("0ABC", "", "", OPERATOR, "abc")
    assert raised.value.reason is Reason.FAILED_PRECONDITION


@pytest.mark.parametrize("steps", [0, 1, 2, 5, 20])
async def test_a_revocation_is_carried_out_though_the_request_that_made_it_is_given_up(manager: Manager, steps: int) -> None:
    made = await enrolled(manager)
    thief = asyncio.create_task(manager.revoker.lock(made.identity, "stolen", made.identity.uri))
    for _ in range(steps + 1):
        await asyncio.sleep(0)
    thief.cancel()

    await eventually(lambda: len(manager.refused) == 1)

    assert state(manager, made.identity) is InstanceState.GONE
    assert [revocation.subject for revocation in await manager.credentials.revocations()] == [made.identity.uri]


async def test_a_reason_has_its_bound(manager: Manager) -> None:
    for revoke in (manager.revoker.revoke_identity(CLIENT, "", "x" * 201, OPERATOR), manager.revoker.revoke_serial("a", "", "x" * 201, "")):
        with pytest.raises(ParadeError) as raised:
            await revoke
        assert raised.value.violations[0].field == "reason"


async def test_the_operator_revokes_services_and_certificates_of_others(manager: Manager) -> None:
    made = await enrolled(manager, "other")

    for subject in (DISPATCHER, made.identity.uri):
        await manager.revoker.revoke_identity(subject, "", "", OPERATOR)
    by_serial = await manager.revoker.revoke_serial("abc", "", "", OPERATOR)

    assert by_serial.expires - manager.clock.now() == timedelta(days=90)
    assert len(manager.refused) == 3


async def test_agents_are_told_of_services_only_and_of_each_once(manager: Manager) -> None:
    await manager.revoker.revoke_identity(CLIENT, "default", "", ADMIN)
    first, told = manager.revoker.of_services(0)
    await manager.revoker.revoke_identity(DISPATCHER, "", "", OPERATOR)
    second, told = manager.revoker.of_services(told)
    third, told = manager.revoker.of_services(told)

    assert (first, [revocation.subject for revocation in second], third, told) == ([], [DISPATCHER], [], 1)


async def told(watcher: Watcher[AccessChange], count: int) -> list[str]:
    changes = watcher.changes()
    async with asyncio.timeout(5):
        return [subject_of(await anext(changes)) for _ in range(count)]


def subject_of(change: AccessChange) -> str:
    assert isinstance(change, Revocation)
    return change.subject


async def test_a_watcher_sees_the_picture_and_every_change_after_it(manager: Manager) -> None:
    await manager.revoker.revoke_identity(CLIENT, "default", "", ADMIN)

    with manager.feed.watch() as watcher:
        picture = [subject_of(change) for change in watcher.picture()]
        await manager.revoker.revoke_identity(DISPATCHER, "", "", OPERATOR)
        await manager.revoker.revoke_identity(CLIENT, "default", "", ADMIN)
        await manager.revoker.revoke_serial("abc", "", "", OPERATOR)
        changes = await told(watcher, 2)

    assert (picture, changes) == ([CLIENT], [DISPATCHER, "abc"])


async def test_a_watcher_that_is_too_slow_is_sent_away(manager: Manager) -> None:
    narrow = manager_of(manager.store, manager.credentials, manager.clock, watch_capacity=1)
    with narrow.feed.watch() as watcher:
        for serial in ("a", "b"):
            await narrow.revoker.revoke_serial(serial, "", "", OPERATOR)
        with pytest.raises(ParadeError) as raised:
            await told(watcher, 1)

    assert raised.value.reason is Reason.NO_CAPACITY


async def test_a_restart_refuses_what_was_revoked_and_takes_out_who_was_left_in(manager: Manager) -> None:
    made = await enrolled(manager)
    await manager.credentials.add_revocation(await revocation_that_was_cut_short(manager, made.identity))

    restarted = manager_of(manager.store, manager.credentials, manager.clock)
    await restarted.engine.load()
    await restarted.revoker.load()

    assert state(restarted, made.identity) is InstanceState.GONE
    assert len(restarted.refused) == 1
    with restarted.feed.watch() as watcher:
        assert [subject_of(change) for change in watcher.picture()] == [made.identity.uri]


async def revocation_that_was_cut_short(manager: Manager, identity: Identity) -> Revocation:
    return Revocation(identity.uri, identity.namespace, manager.clock.now(), manager.clock.now() + timedelta(hours=1), "", ADMIN)


@pytest.mark.parametrize("whole", [False, True], ids=["certificate", "identity"])
async def test_a_certificate_is_forgotten_when_it_has_ended_and_an_identity_long_after(manager: Manager, *, whole: bool) -> None:
    made = await enrolled(manager)
    if whole:
        revocation = await manager.revoker.revoke_identity(made.identity.uri, "default", "", ADMIN)
    else:
        revocation = await manager.revoker.revoke_serial(made.certificate.serial, "default", "", ADMIN)
    kept = timedelta(days=90) if whole else timedelta(hours=1)

    await manager.clock.advance(kept.total_seconds() - 1)
    await manager.revoker.forget_expired()
    before = manager.revoker.revoked(revocation.subject)
    await manager.clock.advance(1)
    await manager.revoker.forget_expired()

    assert before is not None
    assert manager.revoker.revoked(revocation.subject) is None
    assert await manager.credentials.revocations() == []


async def test_a_list_says_of_a_revoked_certificate_why(manager: Manager) -> None:
    made = await enrolled(manager)
    await manager.revoker.revoke_identity(made.identity.uri, "default", "lost in a taxi", ADMIN)

    (known,), token = await manager.revoker.certificates("default", "", CertificateState.REVOKED, 0, "")

    assert known.revocation is not None
    assert (known.state, known.revocation.reason, token) == (CertificateState.REVOKED, "lost in a taxi", "")


async def test_a_list_comes_in_pages_and_shows_no_other_namespace(manager: Manager) -> None:
    serials = sorted([(await enrolled(manager)).certificate.serial for _ in range(3)])
    await enrolled(manager, "other")

    first, token = await manager.revoker.certificates("default", "", None, 2, "")
    second, end = await manager.revoker.certificates("default", "", None, 2, token)
    with pytest.raises(ParadeError) as raised:
        await manager.revoker.certificates("other", "", None, 2, token)

    assert [known.certificate.serial for known in (*first, *second)] == serials
    assert end == ""
    assert raised.value.reason is Reason.INVALID_ARGUMENTS
