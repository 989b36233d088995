"""Certificates in files: whoever writes them, nobody is given a key and a certificate that do not belong together."""

import threading
from pathlib import Path

import pytest

from parade.wire.certificates import Certificates, FileSource, write_private
from parade.wire.files import replace_all
from parade.wire.identity import Identity
from parade.wire.key_pair import require_pair
from tests.support.certificates import Authority

CLIENT = Identity.client("dev")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "served"
    made.mkdir()
    return made


def put(folder: Path, certificates: Certificates) -> None:
    """Replaces all three files at once."""
    replace_all(
        folder, {"ca.crt": certificates.trust_bundle, "tls.crt": certificates.certificate_chain, "tls.key": certificates.private_key}
    )


def source(folder: Path) -> FileSource:
    return FileSource(folder / "ca.crt", folder / "tls.crt", folder / "tls.key")


def kubelet(folder: Path, certificates: Certificates, version: str) -> None:
    """Lays down a `Secret` as the kubelet does: a folder a version, a link to the newest, links to the files through it."""
    (folder / version).mkdir()
    (folder / version / "ca.crt").write_bytes(certificates.trust_bundle)
    (folder / version / "tls.crt").write_bytes(certificates.certificate_chain)
    (folder / version / "tls.key").write_bytes(certificates.private_key)
    before = (folder / "..data").readlink() if (folder / "..data").is_symlink() else None
    (folder / "..data_tmp").symlink_to(version)
    (folder / "..data_tmp").replace(folder / "..data")
    if before is None:
        for name in ("ca.crt", "tls.crt", "tls.key"):
            (folder / name).symlink_to(f"..data/{name}")
        return
    for path in (folder / before).iterdir():
        path.unlink()
    (folder / before).rmdir()


def test_what_cert_manager_renews_is_taken_up(authority: Authority, folder: Path) -> None:
    first, second = authority.certificates(CLIENT), authority.certificates(CLIENT)
    kubelet(folder, first, "..2026_11_23_08_00_00.1")
    served = source(folder)
    before = served.current()

    kubelet(folder, second, "..2026_11_23_08_30_00.2")

    assert (before, served.current()) == (first, second)


def test_a_key_that_was_written_before_its_certificate_waits_for_it(authority: Authority, folder: Path) -> None:
    first, second = authority.certificates(CLIENT), authority.certificates(CLIENT)
    for name, content in (("ca.crt", first.trust_bundle), ("tls.crt", first.certificate_chain), ("tls.key", first.private_key)):
        write_private(folder / name, content)
    served = source(folder)

    write_private(folder / "tls.key", second.private_key)
    between = served.current()
    write_private(folder / "tls.crt", second.certificate_chain)

    assert (between, served.current()) == (first, second)


@pytest.mark.parametrize("name", ["ca.crt", "tls.crt", "tls.key"])
def test_a_file_that_is_away_for_a_moment_changes_nothing(authority: Authority, folder: Path, name: str) -> None:
    put(folder, authority.certificates(CLIENT))
    served = source(folder)
    before = served.current()

    (folder / name).unlink()
    away = served.current()
    put(folder, authority.certificates(CLIENT))

    assert away is before
    assert served.current() is not before


def test_half_a_file_is_not_taken(authority: Authority, folder: Path) -> None:
    put(folder, authority.certificates(CLIENT))
    served = source(folder)
    before = served.current()
    newest = authority.certificates(CLIENT)

    replace_all(folder, {"tls.crt": newest.certificate_chain[:200], "tls.key": newest.private_key})
    half = served.current()
    put(folder, newest)

    assert half is before
    assert served.current() == newest


def test_roots_alone_may_change(authority: Authority, folder: Path, tmp_path: Path) -> None:
    held = authority.certificates(CLIENT)
    put(folder, held)
    served = source(folder)
    both = authority.trust_bundle + Authority(tmp_path / "next").trust_bundle

    replace_all(folder, {"ca.crt": both})

    assert served.current() == Certificates(both, held.certificate_chain, held.private_key)


def test_files_that_are_written_anew_as_they_were_are_no_change(authority: Authority, folder: Path) -> None:
    held = authority.certificates(CLIENT)
    put(folder, held)
    served = source(folder)
    before = served.current()

    put(folder, held)

    assert served.current() is before


def test_a_pair_that_is_none_is_said_at_the_start(authority: Authority, folder: Path) -> None:
    first, second = authority.certificates(CLIENT), authority.certificates(CLIENT)
    put(folder, Certificates(first.trust_bundle, first.certificate_chain, second.private_key))

    with pytest.raises(ValueError, match="does not belong"):
        source(folder)


@pytest.mark.parametrize("write_all_at_once", [True, False])
def test_no_reader_sees_a_pair_that_is_none(authority: Authority, folder: Path, *, write_all_at_once: bool) -> None:
    put(folder, authority.certificates(CLIENT))
    served = source(folder)
    versions = [authority.certificates(CLIENT) for _ in range(40)]
    faults: list[ValueError] = []
    seen: set[bytes] = set()
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            certificates = served.current()
            seen.add(certificates.certificate_chain)
            try:
                require_pair(certificates.certificate_chain, certificates.private_key)
            except ValueError as error:
                faults.append(error)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    try:
        for certificates in versions:
            if write_all_at_once:
                put(folder, certificates)
            else:
                write_private(folder / "tls.key", certificates.private_key)
                write_private(folder / "tls.crt", certificates.certificate_chain)
    finally:
        done.set()
        for reader in readers:
            reader.join()

    assert faults == []
    assert len(seen) > 1
    assert served.current() == versions[-1]
