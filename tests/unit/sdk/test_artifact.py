"""An artifact's name, its JSON form, and reading it from a store that does not always behave."""

import hashlib
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import orjson
import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from parade import patience, values
from parade.artifact import STORE, Artifact
from parade.wire.errors import ParadeError, Reason

CONTENT = bytes(range(256)) * 1000


def digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


class Shelf:
    """A store that breaks off where it is told to."""

    def __init__(self, content: bytes = CONTENT, breaks_at: tuple[int, ...] = (), reason: Reason = Reason.UNAVAILABLE) -> None:
        self.content = content
        self.asked: list[int] = []
        self._breaks = list(breaks_at)
        self._reason = reason

    async def pieces(self, digest: str, offset: int) -> AsyncGenerator[bytes, None]:
        self.asked.append(offset)
        end = self._breaks.pop(0) if self._breaks else len(self.content)
        for start in range(offset, end, 1000):
            yield self.content[start : min(start + 1000, end)]
        if end < len(self.content):
            raise ParadeError(self._reason, "gone")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "PATIENCE", 2.0)


def artifact(shelf: Shelf) -> Artifact:
    return Artifact(digest(CONTENT), len(CONTENT), "text/csv", store=shelf)


async def test_it_is_read_in_pieces_and_whole() -> None:
    pieces = [piece async for piece in artifact(Shelf()).chunks()]

    assert len(pieces) == 256
    assert b"".join(pieces) == await artifact(Shelf()).read() == CONTENT


async def test_reading_goes_on_where_it_broke_off() -> None:
    shelf = Shelf(breaks_at=(5_500, 90_000))

    assert await artifact(shelf).read() == CONTENT
    assert shelf.asked == [0, 5_500, 90_000]


async def test_what_does_not_come_back_is_not_waited_for() -> None:
    shelf = Shelf(breaks_at=(5_000,), reason=Reason.NOT_FOUND)

    with pytest.raises(ParadeError) as failed:
        await artifact(shelf).read()
    assert failed.value.reason is Reason.NOT_FOUND
    assert shelf.asked == [0]


@pytest.mark.parametrize("content", [CONTENT[:-1] + b"?", CONTENT[:-1]], ids=["other bytes", "too few"])
async def test_bytes_that_are_not_those_of_the_digest_are_refused(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(ParadeError) as failed:
        await artifact(Shelf(content)).save(tmp_path / "rows.csv")

    assert failed.value.reason is Reason.INTERNAL
    assert list(tmp_path.iterdir()) == []


async def test_a_file_is_replaced_when_all_of_it_is_there(tmp_path: Path) -> None:
    target = tmp_path / "rows.csv"
    target.write_bytes(b"before")

    with pytest.raises(ParadeError):
        await artifact(Shelf(breaks_at=(5_000,), reason=Reason.NOT_FOUND)).save(target)
    assert target.read_bytes() == b"before"

    assert await artifact(Shelf()).save(target) == target
    assert target.read_bytes() == CONTENT
    assert list(tmp_path.iterdir()) == [target]


async def test_more_than_the_limit_is_not_read_whole() -> None:
    shelf = Shelf()

    with pytest.raises(ParadeError, match="too large") as failed:
        await artifact(shelf).read(limit=1000)
    assert failed.value.reason is Reason.INVALID_ARGUMENTS
    assert shelf.asked == []


async def test_one_without_a_mesh_says_how_to_get_one() -> None:
    with pytest.raises(ParadeError, match=r"mesh\.artifact"):
        await Artifact(digest(b""), 0).read()


async def test_nothing_is_read_of_an_empty_one() -> None:
    shelf = Shelf(b"")

    assert await Artifact(digest(b""), 0, store=shelf).read() == b""
    assert shelf.asked == []


class Report(BaseModel):
    rows: Artifact
    more: list[Artifact] = []


def test_it_is_a_type_hint_like_any_other() -> None:
    shelf = Shelf()
    form = {"artifact": {"digest": digest(CONTENT), "size": len(CONTENT), "media_type": "text/csv"}}

    report = Report.model_validate_json(orjson.dumps({"rows": form}), context={STORE: shelf})

    assert report.rows == artifact(shelf)
    assert report.rows._store is shelf
    assert report.model_dump(mode="json") == {"rows": form, "more": []}
    assert orjson.loads(values.dumps({"rows": report.rows})) == {"rows": form}


@pytest.mark.parametrize("mode", ["validation", "serialization"])
def test_its_schema_says_its_json_form(mode: Any) -> None:
    schema = TypeAdapter(Artifact).json_schema(mode=mode)

    assert schema["required"] == ["artifact"]
    assert set(schema["properties"]["artifact"]["properties"]) == {"digest", "size", "media_type"}
    assert schema["properties"]["artifact"]["required"] == ["digest", "size"]


@pytest.mark.parametrize(
    "form",
    [
        "sha256:00",
        {},
        {"artifact": {"digest": "sha256:00", "size": 1}},
        {"artifact": {"digest": digest(b""), "size": -1}},
        {"artifact": {"digest": digest(b"")}},
        {"artifact": {"digest": digest(b""), "size": True}},
    ],
)
def test_what_names_no_artifact_is_refused(form: Any) -> None:
    with pytest.raises(ParadeError) as refused:
        Artifact.from_json(form)
    assert refused.value.reason is Reason.INVALID_ARGUMENTS
    assert refused.value.violations
    with pytest.raises(ValidationError):
        TypeAdapter(Artifact).validate_python(form)


def test_the_same_bytes_are_the_same_artifact() -> None:
    one, other = Artifact(digest(b"a"), 1, "text/plain"), Artifact(digest(b"a"), 1)

    assert one == other
    assert len({one, other}) == 1
    assert one != Artifact(digest(b"b"), 1)
