import socket

import pytest

from parade_gateway.server import listen, url_of


def test_a_port_answers_without_delay_and_waits_for_who_connects() -> None:
    with listen("127.0.0.1:0") as opened, socket.create_connection(opened.getsockname(), timeout=5):
        assert opened.proto == socket.IPPROTO_TCP
        assert url_of(opened, "127.0.0.1:0") == f"http://127.0.0.1:{opened.getsockname()[1]}"


def test_a_port_that_is_taken_stops_the_start() -> None:
    with listen("127.0.0.1:0") as opened, pytest.raises(OSError, match="in use"):
        listen(f"127.0.0.1:{opened.getsockname()[1]}")
