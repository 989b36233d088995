"""A record is a constant event and fields: a short line for people, JSON for machines, the same to the monitor."""

import json
import logging
import sys
from typing import Any

import pytest

from parade.wire.log import Log, for_machines
from parade.wire.redaction import remember
from parade.wire.telemetry import Telemetry


class Sink:
    def __init__(self) -> None:
        self.records: list[tuple[str, str, dict[str, Any]]] = []

    def log(self, severity: str, event: str, fields: dict[str, Any]) -> None:
        self.records.append((severity, event, fields))


def test_a_line_for_people_is_short(capsys: pytest.CaptureFixture[str]) -> None:
    Log(bound={"service": "scheduler"}).info("lease lost", shard=3, epoch=41)

    assert capsys.readouterr().err.partition(" ")[2] == "info    lease lost  shard=3 epoch=41\n"


def test_a_line_for_machines_is_json_with_every_field(capsys: pytest.CaptureFixture[str]) -> None:
    Log(layout=for_machines, bound={"service": "scheduler"}).warning("lease lost", shard=3, owner=object)

    line = json.loads(capsys.readouterr().err)
    assert line.pop("timestamp").endswith("Z")
    assert line == {"level": "warning", "event": "lease lost", "service": "scheduler", "shard": 3, "owner": "<class 'object'>"}


def test_what_is_less_grave_than_wanted_is_written_nowhere(capsys: pytest.CaptureFixture[str]) -> None:
    sink = Sink()

    Log(sink, level="warning").info("lease lost")

    assert capsys.readouterr().err == ""
    assert sink.records == []


def test_an_exception_comes_with_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    sink = Sink()

    Log(sink, layout=for_machines).error("write failed", exception=LookupError("no such row"))

    assert "LookupError: no such row" in json.loads(capsys.readouterr().err)["exception"]
    assert "LookupError: no such row" in sink.records[0][2]["exception"]


def test_no_secret_that_the_process_knows_leaves_it_in_a_record(capsys: pytest.CaptureFixture[str]) -> None:
    canary = "canary-of-the-log"
    event = f"{canary} lost"
    remember([canary], 60)
    sink = Sink()
    log = Log(sink, layout=for_machines, bound={"bound": canary})

    try:
        raise KeyError(canary)
    except KeyError as error:
        log.error(event, exception=error, fields=[canary], url="http://u:p4ss@host", count=3)

    line = capsys.readouterr().err
    assert canary not in line + str(sink.records)
    assert "p4ss" not in line + str(sink.records)
    assert json.loads(line)["count"] == 3
    assert "KeyError: '***'" in json.loads(line)["exception"]


def test_a_log_of_a_call_is_written_without_its_secrets_however_short(capsys: pytest.CaptureFixture[str]) -> None:
    log = Log().bind({"pin": "4711"}, {}, secrets=["4711"])

    log.error("function failed", exception=ValueError("pin 4711"), given={"pins": ["4711"]})

    said = capsys.readouterr().err
    assert "ValueError: pin ***" in said
    assert "4711" not in said


def test_what_a_library_warns_of_is_written_without_the_secrets_that_the_process_knows(capsys: pytest.CaptureFixture[str]) -> None:
    canary = "canary-of-a-library"
    remember([canary], 60)
    record = logging.makeLogRecord({"msg": "Task exception was never retrieved: %s", "args": (canary,), "exc_info": _failed(canary)})

    with Telemetry("tested", "i1"):
        assert logging.lastResort is not None
        logging.lastResort.handle(record)

    said = capsys.readouterr().err
    assert "never retrieved: ***" in said
    assert "ValueError: ***" in said
    assert canary not in said


def _failed(message: str) -> Any:
    try:
        raise ValueError(message)
    except ValueError:
        return sys.exc_info()
