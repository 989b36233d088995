import asyncio

import pytest
from cryptography import x509

from parade.wire.certificates import new_key_and_request
from parade.wire.errors import ParadeError, Reason
from parade.wire.identity import Identity
from parade.wire.join_token import PREFIX, SHAPE
from parade_agent_manager.certificate import Certificate
from parade_agent_manager.enrolment import Enrolled
from tests.support.registrations import registration
from tests.unit.agent_manager.conftest import FINGERPRINT, LIFETIME, Manager


def request() -> bytes:
    return new_key_and_request()[1]


async def renewed(manager: Manager, identity: Identity, shown: Certificate, csr: bytes = b"") -> Certificate:
    return await manager.enrolment.renew(identity, shown.chain.encode(), csr or request())


async def token(manager: Manager, lifetime: float = 600) -> str:
    return (await manager.enrolment.create_token("default", "cleaner", lifetime, "somebody")).secret


async def test_a_token_and_a_request_give_a_certificate_of_the_agents_namespace(manager: Manager) -> None:
    enrolled = await manager.enrolment.enrol(await token(manager), request())

    certificate = x509.load_pem_x509_certificate(enrolled.certificate.chain.encode())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    identity = Identity.parse(names.get_values_for_type(x509.UniformResourceIdentifier)[0])
    assert identity == enrolled.identity
    assert (enrolled.identity.namespace, enrolled.identity.name) == ("default", "cleaner")
    assert enrolled.certificate.expires - manager.clock.now() == LIFETIME
    assert f"{certificate.serial_number:x}" == enrolled.certificate.serial


async def test_a_token_is_recognisable_names_the_authority_and_is_kept_as_a_hash_only(manager: Manager) -> None:
    secret = await token(manager)

    kept = await manager.credentials.token(secret)

    assert SHAPE.fullmatch(secret)
    assert secret.endswith(f"_{FINGERPRINT}")
    assert kept is None


async def test_the_same_token_and_key_again_give_the_same_certificate(manager: Manager) -> None:
    secret, csr = await token(manager), request()

    first = await manager.enrolment.enrol(secret, csr)
    again = await manager.enrolment.enrol(secret, csr)

    assert first == again


async def test_a_token_gives_nothing_any_more_once_its_certificate_was_renewed(manager: Manager) -> None:
    secret, csr = await token(manager), request()
    enrolled = await manager.enrolment.enrol(secret, csr)
    await renewed(manager, enrolled.identity, enrolled.certificate)

    with pytest.raises(ParadeError) as raised:
        await manager.enrolment.enrol(secret, csr)

    assert raised.value.reason is Reason.UNAUTHENTICATED


async def test_another_key_finds_the_token_used(manager: Manager) -> None:
    secret = await token(manager)
    await manager.enrolment.enrol(secret, request())

    with pytest.raises(ParadeError) as raised:
        await manager.enrolment.enrol(secret, request())

    assert raised.value.reason is Reason.UNAUTHENTICATED


@pytest.mark.parametrize("secret", ["", "nonsense", PREFIX + "A" * 43, f"{PREFIX}{'A' * 43}_{FINGERPRINT}", PREFIX + "A" * 1_000_000])
async def test_an_unknown_token_is_refused_before_the_request_is_looked_at(manager: Manager, secret: str) -> None:
    with pytest.raises(ParadeError) as raised:
        await manager.enrolment.enrol(secret, b"no request")
    assert raised.value.reason is Reason.UNAUTHENTICATED


async def test_an_expired_token_is_refused_for_the_key_that_used_it_too(manager: Manager) -> None:
    used, unused, csr = await token(manager), await token(manager), request()
    await manager.enrolment.enrol(used, csr)

    await manager.clock.advance(600)

    for secret in (used, unused):
        with pytest.raises(ParadeError) as raised:
            await manager.enrolment.enrol(secret, csr)
        assert raised.value.reason is Reason.UNAUTHENTICATED


@pytest.mark.parametrize("csr", [b"", b"no request", b"x" * 20_000])
async def test_a_bad_request_does_not_use_the_token_up(manager: Manager, csr: bytes) -> None:
    secret = await token(manager)

    with pytest.raises(ParadeError) as raised:
        await manager.enrolment.enrol(secret, csr)
    enrolled = await manager.enrolment.enrol(secret, request())

    assert raised.value.reason is Reason.INVALID_ARGUMENTS
    assert enrolled.identity.name == "cleaner"


async def test_of_many_keys_at_once_exactly_one_gets_a_certificate(manager: Manager) -> None:
    secret = await token(manager)
    requests = [request() for _ in range(200)]

    answers = await asyncio.gather(*(manager.enrolment.enrol(secret, csr) for csr in requests), return_exceptions=True)

    assert sum(isinstance(answer, Enrolled) for answer in answers) == 1
    assert {answer.reason for answer in answers if isinstance(answer, ParadeError)} == {Reason.UNAUTHENTICATED}
    assert sum(isinstance(answer, ParadeError) for answer in answers) == 199


async def test_one_key_many_times_at_once_gets_one_certificate(manager: Manager) -> None:
    secret, csr = await token(manager), request()

    answers = await asyncio.gather(*(manager.enrolment.enrol(secret, csr) for _ in range(200)))

    assert len(set(answers)) == 1
    assert len(await manager.credentials.certificates("", "", None, manager.clock.now(), "", 10)) == 1


@pytest.mark.parametrize(("agent", "lifetime"), [("Cleaner", 600), ("", 600), ("cleaner", 0), ("cleaner", -1), ("cleaner", 3601)])
async def test_a_token_for_nothing_sensible_is_refused(manager: Manager, agent: str, lifetime: float) -> None:
    with pytest.raises(ParadeError) as raised:
        await manager.enrolment.create_token("default", agent, lifetime, "somebody")
    assert raised.value.reason is Reason.INVALID_ARGUMENTS
    assert len(raised.value.violations) == 1


async def test_an_instance_that_has_left_gets_no_certificate_any_more(manager: Manager) -> None:
    secret, csr = await token(manager), request()
    enrolled = await manager.enrolment.enrol(secret, csr)
    await manager.engine.register(enrolled.identity, registration())
    certificate = await renewed(manager, enrolled.identity, enrolled.certificate)

    await manager.engine.deregister(enrolled.identity)

    with pytest.raises(ParadeError) as renewal:
        await renewed(manager, enrolled.identity, certificate)
    with pytest.raises(ParadeError) as retry:
        await manager.enrolment.enrol(secret, csr)
    assert certificate.expires - manager.clock.now() == LIFETIME
    assert (renewal.value.reason, retry.value.reason) == (Reason.FAILED_PRECONDITION, Reason.UNAUTHENTICATED)


async def test_expired_tokens_are_removed(manager: Manager) -> None:
    for _ in range(3):
        await token(manager, 60)
    kept = await token(manager, 120)

    await manager.clock.advance(60)
    await manager.enrolment.forget_expired()

    assert (await manager.enrolment.enrol(kept, request())).identity.name == "cleaner"


async def test_neither_tokens_nor_keys_are_logged(manager: Manager, capsys: pytest.CaptureFixture[str]) -> None:
    secret = await token(manager)

    await manager.enrolment.enrol(secret, request())
    with pytest.raises(ParadeError):
        await manager.enrolment.enrol(secret, request())

    output = "".join(capsys.readouterr())
    assert "join token" in output
    assert secret[len(PREFIX) :] not in output
    assert "BEGIN" not in output
