"""What a namespace's artifacts take is measured once in a while, and counted in between."""

import math
from pathlib import Path

import pytest

from parade.wire.errors import ParadeError, Reason
from parade_chassis.quotas import Quotas
from parade_gateway.artifact_store import ArtifactStore, Reference
from parade_gateway.artifact_usage import FRESH, Usage
from parade_gateway.quotas import GatewayLimits, Requests

TIGHT = Quotas("gateway", {"*": GatewayLimits(artifacts=2, artifact_bytes=10)}, GatewayLimits())


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path, 1000, TIGHT)


def stored(store: ArtifactStore, content: bytes, namespace: str = "sales") -> Reference:
    upload = store.begin(namespace, Reference())
    try:
        upload.write(content)
        return upload.finish()
    finally:
        upload.discard()


def full(store: ArtifactStore, content: bytes, namespace: str = "sales") -> bool:
    try:
        stored(store, content, namespace)
    except ParadeError as error:
        return error.reason is Reason.NO_CAPACITY
    return False


def test_uploads_under_way_take_room_and_give_it_back(store: ArtifactStore) -> None:
    upload = store.begin("sales", Reference())
    upload.write(b"123456")

    meanwhile = full(store, b"abcdef"), full(store, b"abcdef", "support")
    upload.discard()

    assert meanwhile == (True, False)
    assert not full(store, b"abcdef")


def test_what_is_stored_again_takes_no_more(store: ArtifactStore) -> None:
    stored(store, b"12345")
    stored(store, b"12345")

    assert not full(store, b"abcde")
    assert full(store, b"a")


def test_what_is_removed_gives_its_room_back(store: ArtifactStore) -> None:
    stored(store, b"1234567890")
    before = full(store, b"a")
    removed = sum(store.sweep(math.inf))

    assert (before, removed) == (True, 1)
    assert not full(store, b"a")


def test_what_lies_there_at_the_start_counts(store: ArtifactStore, tmp_path: Path) -> None:
    stored(store, b"1234567890")

    assert full(ArtifactStore(tmp_path, 1000, TIGHT), b"a")


def test_what_another_gateway_stores_counts_a_while_later() -> None:
    now, there = 0.0, (0, 0)
    usage = Usage(TIGHT, lambda _: there, lambda: now)
    usage.demand("sales")
    there = (2, 10)
    usage.demand("sales")
    now = FRESH + 1

    with pytest.raises(ParadeError) as caught:
        usage.demand("sales")

    assert caught.value.metadata["quota"] == "artifacts"


def test_a_namespace_has_so_many_requests_under_way_and_another_its_own() -> None:
    requests = Requests(Quotas("gateway", {"sales": GatewayLimits(requests=1)}, GatewayLimits()))
    with requests.one("sales"):
        with pytest.raises(ParadeError) as caught, requests.one("sales"):
            pass
        with requests.one("support"):
            pass

    with requests.one("sales"):
        pass
    assert (caught.value.reason, caught.value.retryable) == (Reason.NO_CAPACITY, True)
