"""An authority in a folder: what it issues, and how another root takes the place of the first."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from parade.wire import authority
from parade.wire.authority import ISSUER, ISSUER_KEY, NEXT_KEY, TRUST_BUNDLE, Step
from parade.wire.ca import CertificateAuthority
from parade.wire.certificates import FileSource
from parade.wire.errors import ParadeError, Reason
from parade.wire.identity import Identity

NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)
HOUR = timedelta(hours=1)
WHO = {"dispatcher": Identity.service("dispatcher"), "client": Identity.client("dev")}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    authority.create(tmp_path / "certificates", "parade.local", HOUR, NOW)
    return tmp_path / "certificates"


def roots(folder: Path) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates((folder / TRUST_BUNDLE).read_bytes())


def issued(folder: Path, now: datetime) -> x509.Certificate:
    authority.issue(folder, WHO, HOUR, now)
    return x509.load_pem_x509_certificate((folder / "client.pem").read_bytes())


def signer(certificate: x509.Certificate, among: list[x509.Certificate]) -> x509.Certificate:
    return next(root for root in among if root.subject == certificate.issuer)


def test_what_it_issues_is_signed_by_the_root_that_is_trusted(folder: Path) -> None:
    ends = authority.issue(folder, WHO, HOUR, NOW)

    [root] = roots(folder)
    for name, identity in WHO.items():
        source = FileSource(folder / TRUST_BUNDLE, folder / f"{name}.pem", folder / f"{name}.key")
        certificate = x509.load_pem_x509_certificate(source.current().certificate_chain)
        certificate.verify_directly_issued_by(root)
        assert certificate.not_valid_after_utc == ends == NOW + HOUR
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.UniformResourceIdentifier) == [identity.uri]


def test_keys_can_be_read_by_their_owner_alone(folder: Path) -> None:
    authority.issue(folder, WHO, HOUR, NOW)

    assert {path.name: oct(path.stat().st_mode & 0o777) for path in folder.glob("*.key")} == dict.fromkeys(
        ("ca.key", "ca.next.key", "dispatcher.key", "client.key"), "0o600"
    )
    assert folder.stat().st_mode & 0o777 == 0o700


def test_another_is_not_made_over_it(folder: Path) -> None:
    before = (folder / TRUST_BUNDLE).read_bytes()

    with pytest.raises(ParadeError) as refused:
        authority.create(folder, "parade.local", HOUR, NOW)

    assert refused.value.reason is Reason.ALREADY_EXISTS
    assert (folder / TRUST_BUNDLE).read_bytes() == before


def test_a_root_from_before_is_taken_over(tmp_path: Path) -> None:
    former = CertificateAuthority.create("parade.local", NOW)
    (tmp_path / TRUST_BUNDLE).write_bytes(former.trust_bundle)
    (tmp_path / ISSUER_KEY).write_bytes(former.private_key())

    authority.create(tmp_path, "parade.local", HOUR, NOW)

    assert authority.issuer_of(tmp_path).trust_bundle == (tmp_path / TRUST_BUNDLE).read_bytes() == former.trust_bundle


def test_a_certificate_is_never_good_for_longer_than_a_rotation_waits(folder: Path) -> None:
    with pytest.raises(ParadeError) as refused:
        authority.issue(folder, WHO, HOUR + timedelta(seconds=1), NOW)

    assert refused.value.reason is Reason.INVALID_ARGUMENTS


def test_without_an_authority_it_says_how_to_make_one(tmp_path: Path) -> None:
    for act in (
        lambda: authority.issue(tmp_path / "none", WHO, HOUR, NOW),
        lambda: authority.rotate(tmp_path / "none", NOW),
        lambda: authority.advance(tmp_path / "none", NOW),
    ):
        with pytest.raises(ParadeError, match="parade cert init"):
            act()
    assert not (tmp_path / "none").exists()


def test_a_state_that_cannot_be_read_is_said(folder: Path) -> None:
    (folder / authority.STATE).write_text("nonsense")

    with pytest.raises(ParadeError) as refused:
        authority.rotate(folder, NOW)

    assert refused.value.reason is Reason.FAILED_PRECONDITION


def test_a_new_root_is_trusted_first_then_signs_then_is_alone(folder: Path) -> None:
    [old] = roots(folder)
    begun = authority.rotate(folder, NOW)
    both = roots(folder)
    new = both[1]
    while_both = issued(folder, NOW + HOUR / 2)

    early = authority.rotate(folder, NOW + HOUR - timedelta(seconds=1))
    second = authority.rotate(folder, NOW + HOUR)
    after = issued(folder, NOW + HOUR)
    still_both = roots(folder)

    third = authority.rotate(folder, NOW + 2 * HOUR)

    assert [state.step for state in (begun, early, second, third)] == [
        Step.BOTH_TRUSTED,
        Step.BOTH_TRUSTED,
        Step.NEW_SIGNS,
        Step.SETTLED,
    ]
    assert both == still_both == [old, new]
    assert (signer(while_both, both), signer(after, both)) == (old, new)
    assert roots(folder) == [new]
    assert issued(folder, NOW + 2 * HOUR).issuer == new.subject


def test_no_step_breaks_trust(folder: Path) -> None:
    """Whoever took certificate and roots at any time while their certificate is good trusts, and is trusted by, everybody else who did."""
    taken: list[tuple[datetime, x509.Certificate, list[x509.Certificate]]] = []
    now, begun = NOW, False
    while now <= NOW + 4 * HOUR:
        if now == NOW + HOUR / 4 and not begun:
            authority.rotate(folder, now)
            begun = True
        else:
            authority.advance(folder, now)
        taken.append((now, issued(folder, now), roots(folder)))
        live = [(certificate, trusted) for at, certificate, trusted in taken if now < at + HOUR]
        for certificate, _ in live:
            for _, trusted in live:
                certificate.verify_directly_issued_by(signer(certificate, trusted))
        now += timedelta(minutes=5)

    assert authority.State.read(folder).step is Step.SETTLED
    assert roots(folder)[0] != taken[0][2][0]


def test_advancing_begins_nothing(folder: Path) -> None:
    before = (folder / TRUST_BUNDLE).read_bytes()

    state = authority.advance(folder, NOW + timedelta(days=365))

    assert state.step is Step.SETTLED
    assert (folder / TRUST_BUNDLE).read_bytes() == before


def test_the_key_of_a_root_that_signs_no_more_is_gone(folder: Path) -> None:
    old = (folder / ISSUER_KEY).read_bytes()
    authority.rotate(folder, NOW)
    authority.advance(folder, NOW + HOUR)

    left = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]

    assert old not in left
    assert (folder / NEXT_KEY).read_bytes() == b""
    assert CertificateAuthority.load((folder / ISSUER_KEY).read_bytes(), (folder / ISSUER).read_bytes()).trust_bundle in left


def test_the_state_is_plain(folder: Path) -> None:
    assert json.loads((folder / authority.STATE).read_text()) == {
        "domain": "parade.local",
        "lifetime": 3600.0,
        "step": "settled",
        "since": "2026-11-23T08:00:00+00:00",
    }
