import socket
from collections.abc import Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from data_processing import source
from data_processing.source import SourceUnavailableError, read, title_of


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/moved":
            self.send_response(HTTPStatus.FOUND)
            self.send_header("Location", "/table.csv")
            self.end_headers()
            return
        status = {"/table.csv": HTTPStatus.OK, "/busy": HTTPStatus.SERVICE_UNAVAILABLE}.get(self.path, HTTPStatus.NOT_FOUND)
        self.send_response(status)
        self.end_headers()
        self.wfile.write(b"a,b\n1,2\n")

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


@pytest.fixture
def site() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join(timeout=5)


async def test_an_address_is_read_through_redirects(site: str) -> None:
    assert await read(f"{site}/moved") == b"a,b\n1,2\n"


async def test_an_address_that_is_refused_is_not_tried_again(site: str) -> None:
    with pytest.raises(ValueError, match="404 Not Found: check the address"):
        await read(f"{site}/absent.csv")


async def test_a_server_in_trouble_may_be_tried_again(site: str) -> None:
    with pytest.raises(SourceUnavailableError, match="503"):
        await read(f"{site}/busy")


async def test_a_server_that_is_not_there_may_be_tried_again() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{probe.getsockname()[1]}/table.csv"

    with pytest.raises(SourceUnavailableError, match="cannot be reached"):
        await read(address)


async def test_an_address_that_holds_too_much_is_refused(site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "LARGEST", 3)

    with pytest.raises(ValueError, match="more than 3 bytes"):
        await read(f"{site}/table.csv")


async def test_a_path_is_read(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_bytes(b"a\n1\n")

    assert await read(str(tmp_path / "table.csv")) == b"a\n1\n"


async def test_a_path_that_leads_nowhere_is_refused_with_advice(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="check the path"):
        await read(str(tmp_path / "absent.csv"))
    with pytest.raises(ValueError, match="is a folder"):
        await read(str(tmp_path))


def test_a_source_has_a_name_for_people() -> None:
    assert title_of("/data/monthly_sales-2020.csv") == "monthly sales 2020"
    assert title_of("https://example.com/a%20table.csv?version=3") == "a table"
