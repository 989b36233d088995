"""What the agent_manager's store of tokens, certificates and revocations promises, on every database."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from parade_agent_manager.certificate import Certificate, CertificateState, Revocation
from parade_agent_manager.credential_store import CredentialStore
from parade_agent_manager.tables import METADATA
from parade_agent_manager.tokens import JoinToken
from parade_chassis.store import Database
from tests.support.recorder import RECORDER

NOW = datetime(2026, 3, 4, 5, 6, 7, 891011, tzinfo=UTC)
HOUR = timedelta(hours=1)
TOKEN = JoinToken("0" * 64, "default", "cleaner", NOW + timedelta(minutes=10))


def certificate(number: int = 1, holder: str = "i-1", namespace: str = "default") -> Certificate:
    uri = f"spiffe://parade.local/ns/{namespace}/agent/cleaner/{holder}"
    return Certificate(f"{number:040x}", uri, namespace, f"key-{number}", f"PEM of {number}", NOW, NOW + HOUR)


def revocation(subject: str, expires: datetime = NOW + HOUR) -> Revocation:
    return Revocation(subject, "default", NOW, expires, "lost in a taxi", "spiffe://parade.local/ns/default/client/dev")


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[CredentialStore]:
    database = await Database.open(database_url, "parade_agent_manager", METADATA)
    yield CredentialStore(database, RECORDER)
    await database.close()


async def listed(store: CredentialStore, state: CertificateState | None, now: datetime = NOW) -> list[str]:
    return [one.serial[-1] for one in await store.certificates("", "", state, now, "", 100)]


async def test_a_token_is_bound_to_the_first_key_only(store: CredentialStore) -> None:
    await store.add_token(TOKEN)

    first = await store.use_token(TOKEN.hash, "i-1", certificate(1), NOW)
    second = await store.use_token(TOKEN.hash, "i-2", certificate(2, "i-2"), NOW)

    assert first == second == replace(TOKEN, key_fingerprint="key-1", instance="i-1")
    assert await store.certificates("", "", None, NOW, "", 10) == [certificate(1)]


@pytest.mark.parametrize("same_key", [False, True])
async def test_of_200_uses_at_once_one_binds_the_token_and_one_certificate_is_written(store: CredentialStore, *, same_key: bool) -> None:
    await store.add_token(TOKEN)
    made = [certificate(number, f"i-{number}") for number in range(200)]
    if same_key:
        made = [replace(one, key_fingerprint="key") for one in made]

    answers = await asyncio.gather(*(store.use_token(TOKEN.hash, f"i-{number}", one, NOW) for number, one in enumerate(made)))

    (written,) = await store.certificates("", "", None, NOW, "", 10)
    assert set(answers) == {replace(TOKEN, key_fingerprint=written.key_fingerprint, instance=written.spiffe_id.rpartition("/")[2])}


async def test_an_expired_or_unknown_token_is_not_bound(store: CredentialStore) -> None:
    await store.add_token(TOKEN)

    expired = await store.use_token(TOKEN.hash, "i-1", certificate(), TOKEN.expires)
    unknown = await store.use_token("1" * 64, "i-1", certificate(), NOW)

    assert expired == TOKEN
    assert unknown is None
    assert await store.certificate(certificate().serial) is None


async def test_expired_tokens_are_removed_and_others_stay(store: CredentialStore) -> None:
    later = replace(TOKEN, hash="1" * 64, expires=TOKEN.expires + timedelta(microseconds=1))
    await store.add_token(TOKEN)
    await store.add_token(later)

    await store.remove_tokens(TOKEN.expires)

    assert await store.token(TOKEN.hash) is None
    assert await store.token(later.hash) == later


async def test_a_certificate_is_found_by_its_serial_number_and_by_its_key(store: CredentialStore) -> None:
    await store.add_certificate(certificate())

    assert await store.certificate(certificate().serial) == certificate()
    assert await store.certificate_of(certificate().spiffe_id, "key-1") == certificate()
    assert await store.certificate_of(certificate().spiffe_id, "key-2") is None
    assert await store.certificate("1") is None


async def test_a_certificate_is_superseded_once(store: CredentialStore) -> None:
    await store.add_certificate(certificate(1))

    answers = await asyncio.gather(*(store.supersede(certificate(1).serial, certificate(number)) for number in range(2, 22)))

    first = await store.certificate(certificate(1).serial)
    assert answers.count(True) == 1
    assert first is not None
    assert first.superseded_by == certificate(2 + answers.index(True)).serial
    assert len(await store.certificates("", "", None, NOW, "", 100)) == 2


async def test_what_is_not_there_is_not_superseded(store: CredentialStore) -> None:
    assert not await store.supersede("1", certificate(2))
    assert await store.certificate(certificate(2).serial) is None


async def test_the_latest_end_of_an_identity_is_that_of_its_last_certificate(store: CredentialStore) -> None:
    await store.add_certificate(replace(certificate(1), expires=NOW + 2 * HOUR))
    await store.add_certificate(certificate(2))

    assert await store.latest_end(certificate().spiffe_id) == NOW + 2 * HOUR
    assert await store.latest_end("spiffe://parade.local/ns/default/agent/cleaner/i-2") is None


async def test_certificates_are_listed_by_state(store: CredentialStore) -> None:
    for number in range(1, 7):
        await store.add_certificate(certificate(number, f"i-{number}"))
    await store.supersede(certificate(1).serial, certificate(7, "i-1"))
    await store.add_revocation(revocation(certificate(2).serial))
    await store.add_revocation(revocation(certificate(3, "i-3").spiffe_id))

    states = {state: await listed(store, state) for state in (None, *CertificateState)}

    assert states == {
        None: ["1", "2", "3", "4", "5", "6", "7"],
        CertificateState.ACTIVE: ["4", "5", "6", "7"],
        CertificateState.SUPERSEDED: ["1"],
        CertificateState.REVOKED: ["2", "3"],
        CertificateState.EXPIRED: [],
    }
    assert await listed(store, CertificateState.EXPIRED, NOW + HOUR) == ["1", "4", "5", "6", "7"]
    assert await listed(store, CertificateState.ACTIVE, NOW + HOUR) == []


async def test_certificates_are_listed_by_namespace_and_identity_in_pages(store: CredentialStore) -> None:
    for number in range(1, 4):
        await store.add_certificate(certificate(number, f"i-{number}"))
    await store.add_certificate(certificate(4, namespace="other"))

    page = await store.certificates("default", "", None, NOW, certificate(1).serial, 1)
    of_one = await store.certificates("default", certificate(3, "i-3").spiffe_id, None, NOW, "", 10)
    foreign = await store.certificates("default", certificate(4, namespace="other").spiffe_id, None, NOW, "", 10)

    assert page == [certificate(2, "i-2")]
    assert of_one == [certificate(3, "i-3")]
    assert foreign == []


async def test_revocations_are_read_back_the_oldest_first(store: CredentialStore) -> None:
    later = replace(revocation("b"), revoked=NOW + timedelta(microseconds=1))
    await store.add_revocation(later)
    await store.add_revocation(revocation("a"))

    assert await store.revocations() == [revocation("a"), later]


async def test_the_first_revocation_of_a_subject_stands(store: CredentialStore) -> None:
    first = await store.add_revocation(revocation("a"))
    again = await store.add_revocation(replace(revocation("a"), reason="another", revoked=NOW + HOUR))

    assert first == again == revocation("a")
    assert await store.revocations() == [revocation("a")]


async def test_what_has_ended_is_removed_and_the_rest_stays(store: CredentialStore) -> None:
    lasting = replace(certificate(2, "i-2"), expires=NOW + 2 * HOUR)
    await store.add_certificate(certificate(1))
    await store.add_certificate(lasting)
    await store.add_revocation(revocation("a"))
    await store.add_revocation(revocation("b", NOW + 2 * HOUR))

    await store.remove_certificates(NOW + HOUR)

    assert await store.certificates("", "", None, NOW, "", 10) == [lasting]
    assert [kept.subject for kept in await store.revocations()] == ["b"]
