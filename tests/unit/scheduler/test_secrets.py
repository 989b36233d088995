"""Secrets are files of a folder, read when they are needed and taken up anew when they change, or variables; they are shown nowhere."""

import os
import shutil
from pathlib import Path

import pytest

from parade.wire.errors import ParadeError, Reason
from parade_chassis.clock import ManualClock
from parade_scheduler.definitions.secrets import CAPACITY, FRESH, MAX_BYTES, SETTING, Secrets, taken_from

VALUE = "s3cr3t-value"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for namespace in ("north", "south"):
        (tmp_path / "secrets" / namespace).mkdir(parents=True)
    (tmp_path / "secrets" / "north" / "KEY").write_text(f"{VALUE}\n")
    (tmp_path / "secrets" / "south" / "OTHER").write_text("of the south")
    (tmp_path / "outside").write_text(VALUE)
    return tmp_path / "secrets"


def refused(folder: Path | None, name: str, namespace: str = "north") -> str:
    """Returns why there is no such secret, in words that show neither a value nor a path."""
    with pytest.raises(ParadeError) as caught:
        Secrets(folder, ManualClock()).of(namespace)[name]
    assert caught.value.reason is Reason.INVALID_ARGUMENTS
    assert VALUE not in str(caught.value)
    assert folder is None or str(folder) not in str(caught.value)
    assert caught.value.__suppress_context__
    return caught.value.message


def mount(folder: Path, value: str) -> None:
    """Puts a secret where Kubernetes does: its files in a folder of their own, and links to that which change at once."""
    home, number = folder / "mounted", len(list(folder.glob("mounted/..2*")))
    stamp = f"..2026_11_22_{number}"
    (home / stamp).mkdir(parents=True)
    (home / stamp / "KEY").write_text(value)
    (home / "..new").symlink_to(stamp)
    (home / "..new").replace(home / "..data")
    if not (home / "KEY").is_symlink():
        (home / "KEY").symlink_to("..data/KEY")


def test_each_namespace_has_its_own(folder: Path) -> None:
    secrets = Secrets(folder, ManualClock())

    assert secrets.of("north")["KEY"] == VALUE
    assert secrets.of("south")["OTHER"] == "of the south"


@pytest.mark.parametrize(
    ("written", "read"), [(b"a\n", "a"), (b"a\r\n", "a"), (b"a\n\n", "a\n"), (b"a\r", "a\r"), (b" a ", " a "), ("ä".encode(), "ä")]
)
def test_one_line_end_at_the_end_is_dropped_and_nothing_else(folder: Path, written: bytes, read: str) -> None:
    (folder / "north" / "KEY").write_bytes(written)

    assert Secrets(folder, ManualClock()).of("north")["KEY"] == read


async def test_a_changed_secret_is_taken_up(folder: Path) -> None:
    clock = ManualClock()
    secrets = Secrets(folder, clock).of("north")
    first = secrets["KEY"]
    (folder / "north" / "KEY").write_text("new")

    await clock.advance(FRESH - 0.1)
    meanwhile = secrets["KEY"]
    await clock.advance(0.1)

    assert (first, meanwhile, secrets["KEY"]) == (VALUE, VALUE, "new")


async def test_a_secret_that_is_taken_away_is_gone(folder: Path) -> None:
    clock = ManualClock()
    secrets = Secrets(folder, clock).of("north")
    assert secrets["KEY"] == VALUE
    (folder / "north" / "KEY").unlink()
    await clock.advance(FRESH)

    with pytest.raises(ParadeError, match="no secret `KEY`"):
        secrets["KEY"]


def test_a_secret_that_comes_later_is_there_at_once(folder: Path) -> None:
    secrets = Secrets(folder, ManualClock()).of("north")
    with pytest.raises(ParadeError):
        secrets["LATER"]
    (folder / "north" / "LATER").write_text("now")

    assert secrets["LATER"] == "now"


async def test_it_follows_the_links_of_kubernetes(folder: Path) -> None:
    clock = ManualClock()
    secrets = Secrets(folder, clock).of("mounted")
    mount(folder, "one")
    first = secrets["KEY"]
    mount(folder, "two")
    shutil.rmtree(folder / "mounted" / "..2026_11_22_0")
    await clock.advance(FRESH)

    assert (first, secrets["KEY"]) == ("one", "two")


def test_a_folder_of_all_namespaces_may_be_one_mount(folder: Path) -> None:
    (folder / "..2026" / "west").mkdir(parents=True)
    (folder / "..2026" / "west" / "KEY").write_text("of the west")
    (folder / "..data").symlink_to("..2026")
    (folder / "west").symlink_to("..data/west")

    assert Secrets(folder, ManualClock()).of("west")["KEY"] == "of the west"


@pytest.mark.parametrize("name", ["../south/OTHER", "..", ".", "", "/etc/passwd", "a/b", "..data", ".KEY", "KEY\0", "KEY\n", "x" * 300])
def test_a_name_is_no_path(folder: Path, name: str) -> None:
    assert "this is no name of a secret" in refused(folder, name)


def test_a_namespace_is_no_path(folder: Path) -> None:
    assert "this is no name of a secret" in refused(folder / "north", "KEY", namespace="../north")


@pytest.mark.parametrize("target", ["../../outside", "../south/OTHER"])
def test_a_link_leads_neither_out_of_the_folder_nor_to_another_namespace(folder: Path, target: str) -> None:
    (folder / "north" / "LINK").symlink_to(target)
    assert (folder / "north" / "LINK").exists()

    assert "its link leads out" in refused(folder, "LINK")


@pytest.mark.parametrize("target", ["..", "."])
def test_a_namespace_is_no_link_out_of_the_folder_or_to_all_of_it(folder: Path, target: str) -> None:
    (folder / "west").symlink_to(target)
    (folder / "KEY").write_text(VALUE)

    assert refused(folder, "outside" if target == ".." else "KEY", namespace="west")


def test_it_is_said_where_a_missing_secret_is_looked_for(folder: Path) -> None:
    assert refused(folder, "OTHER") == (
        f"the namespace `north` has no secret `OTHER` that could be used: the folder that {SETTING} names has no file `north/OTHER`, "
        "and there is no variable PARADE_SECRET_north_OTHER"
    )
    assert f"{SETTING} is not set" in refused(None, "KEY")
    assert "has no file `west/KEY`" in refused(folder, "KEY", namespace="west")
    assert "has no file `north/KEY`" in refused(folder / "nowhere", "KEY")


@pytest.mark.parametrize(
    ("content", "why"),
    [(b"x" * (MAX_BYTES + 1), "larger than 64 KiB"), (VALUE.encode() + b"\xff", "not UTF-8"), (b"", "is empty"), (b"\n", "is empty")],
)
def test_what_a_secret_cannot_be(folder: Path, content: bytes, why: str) -> None:
    (folder / "north" / "KEY").write_bytes(content)

    assert why in refused(folder, "KEY")


def test_the_largest_secret_is_read(folder: Path) -> None:
    (folder / "north" / "KEY").write_text("x" * MAX_BYTES)

    assert len(Secrets(folder, ManualClock()).of("north")["KEY"]) == MAX_BYTES


@pytest.mark.timeout(10)
def test_what_is_no_file_does_not_hold_it_up(folder: Path) -> None:
    os.mkfifo(folder / "north" / "PIPE")
    (folder / "north" / "FOLDER").mkdir()
    (folder / "north" / "LOOP").symlink_to("LOOP")
    before = len(list(Path("/proc/self/fd").iterdir()))

    assert "not a file" in refused(folder, "PIPE")
    assert "cannot be read" in refused(folder, "FOLDER")
    assert "links go in circles" in refused(folder, "LOOP") or "symbolic links" in refused(folder, "LOOP")
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_it_does_not_show_itself(folder: Path) -> None:
    secrets = Secrets(folder, ManualClock())
    own = secrets.of("north")
    assert own["KEY"] == VALUE

    assert VALUE not in repr((secrets, own, list(own), dict(own)))


def test_no_more_is_kept_than_it_is_bound_to(folder: Path) -> None:
    secrets = Secrets(folder, ManualClock())
    for number in range(CAPACITY + 10):
        (folder / "north" / f"KEY_{number}").write_text(str(number))
        assert secrets.of("north")[f"KEY_{number}"] == str(number)

    assert len(secrets._kept) <= CAPACITY


def test_a_secret_of_the_environment_is_named_by_namespace_and_name_and_taken_out_of_it() -> None:
    environment = {"PARADE_SECRET_north_KEY": VALUE, "PARADE_SECRET_team-a_db_password": f"{VALUE}2\n", "HOME": "/", "north_KEY": "x"}

    secrets = Secrets(None, ManualClock(), taken_from(environment))

    assert environment == {"HOME": "/", "north_KEY": "x"}
    assert secrets.of("north")["KEY"] == VALUE
    assert secrets.of("team-a")["db_password"] == f"{VALUE}2"
    assert VALUE not in repr(secrets)


def test_nothing_else_of_the_environment_is_a_secret() -> None:
    secrets = Secrets(None, ManualClock(), taken_from({"PARADE_SECRET_north_KEY": VALUE, "KEY": "x", "PARADE_SECRETS": "y"}))

    for namespace, name in (("north", "HOME"), ("north", "PATH"), ("south", "KEY"), ("north", "key"), ("north_KEY", ""), ("team", "a_KEY")):
        with pytest.raises(ParadeError):
            secrets.of(namespace)[name]


def test_a_file_goes_before_a_variable(folder: Path) -> None:
    secrets = Secrets(folder, ManualClock(), taken_from({"PARADE_SECRET_north_KEY": "of the environment", "PARADE_SECRET_north_B": "b"}))

    assert (secrets.of("north")["KEY"], secrets.of("north")["B"]) == (VALUE, "b")


def test_a_file_that_cannot_be_used_is_not_passed_over_for_a_variable(folder: Path) -> None:
    (folder / "north" / "KEY").write_text("")
    secrets = Secrets(folder, ManualClock(), taken_from({"PARADE_SECRET_north_KEY": VALUE}))

    with pytest.raises(ParadeError, match="it is empty"):
        secrets.of("north")["KEY"]


@pytest.mark.parametrize(("value", "why"), [("", "it is empty"), ("x" * (MAX_BYTES + 1), "larger than 64 KiB"), ("\udcff", "not UTF-8")])
def test_what_a_variable_cannot_be(value: str, why: str) -> None:
    with pytest.raises(ParadeError, match=why):
        Secrets(None, ManualClock(), taken_from({"PARADE_SECRET_north_KEY": value})).of("north")["KEY"]
