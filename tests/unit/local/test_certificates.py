"""The certificates of a mesh on one machine: when they are made anew, and that a rotation goes on by itself."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from parade.wire import authority
from parade.wire.authority import DEFAULT_LIFETIME, State, Step
from parade.wire.ca import CertificateAuthority
from parade.wire.certificates import FileSource, write_private
from parade_local.certificates import are_fresh, write_all
from parade_local.services import SERVICES, certificate_path, certificates_folder, key_path

NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)
NAMES = [*(service.name for service in SERVICES), "client"]


def write(folder: Path, now: datetime) -> None:
    write_all(folder, "parade.local", "default", now)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path, NOW)
    return tmp_path


def test_everybody_has_a_pair_that_is_good_for_an_hour(folder: Path) -> None:
    for name in NAMES:
        held = FileSource(certificates_folder(folder) / "ca.pem", certificate_path(folder, name), key_path(folder, name)).current()
        assert x509.load_pem_x509_certificate(held.certificate_chain).not_valid_after_utc == NOW + timedelta(hours=1)


def test_they_are_fresh_until_half_of_their_life(folder: Path) -> None:
    assert are_fresh(folder, NOW + timedelta(minutes=29))
    assert not are_fresh(folder, NOW + timedelta(minutes=30))

    write(folder, NOW + timedelta(minutes=30))

    assert are_fresh(folder, NOW + timedelta(minutes=59))


def test_without_one_of_them_they_are_not(tmp_path: Path) -> None:
    assert not are_fresh(tmp_path, NOW)
    write(tmp_path, NOW)
    key_path(tmp_path, "gateway").unlink()

    assert not are_fresh(tmp_path, NOW)


def test_one_that_is_spoilt_is_made_anew(folder: Path) -> None:
    (certificates_folder(folder) / "..data" / "gateway.pem").write_text("nonsense")

    assert not are_fresh(folder, NOW)


def test_keys_are_fresh_each_time(folder: Path) -> None:
    before = {name: key_path(folder, name).read_bytes() for name in NAMES}

    write(folder, NOW + timedelta(minutes=30))

    assert all(key_path(folder, name).read_bytes() != key for name, key in before.items())


def test_a_step_of_a_rotation_is_taken_when_it_is_due(folder: Path) -> None:
    certificates = certificates_folder(folder)
    authority.rotate(certificates, NOW)
    now, steps = NOW, []
    while now < NOW + timedelta(hours=3):
        if not are_fresh(folder, now):
            write(folder, now)
        steps.append(State.read(certificates).step)
        now += timedelta(minutes=1)

    assert [step for number, step in enumerate(steps) if not number or step is not steps[number - 1]] == [
        Step.BOTH_TRUSTED,
        Step.NEW_SIGNS,
        Step.SETTLED,
    ]
    assert steps.count(Step.BOTH_TRUSTED) == steps.count(Step.NEW_SIGNS) == DEFAULT_LIFETIME.total_seconds() / 60


def test_the_root_of_a_folder_from_before_there_could_be_two_stays(tmp_path: Path) -> None:
    certificates_folder(tmp_path).mkdir()
    root = CertificateAuthority.create("parade.local", NOW)
    write_private(certificates_folder(tmp_path) / "ca.pem", root.trust_bundle)
    write_private(certificates_folder(tmp_path) / "ca.key", root.private_key())

    write(tmp_path, NOW)

    assert (certificates_folder(tmp_path) / "ca.pem").read_bytes() == root.trust_bundle
    assert are_fresh(tmp_path, NOW)


def test_to_look_takes_no_cryptography(folder: Path) -> None:
    program = (
        "import sys\n"
        "from datetime import UTC, datetime\n"
        "from pathlib import Path\n"
        "from parade_local.certificates import are_fresh\n"
        f"assert are_fresh(Path({str(folder)!r}), datetime.fromisoformat({NOW.isoformat()!r}))\n"
        "assert not [name for name in sys.modules if name.startswith(('cryptography', 'grpc'))]\n"
    )

    subprocess.run([sys.executable, "-c", program], check=True, timeout=30)
