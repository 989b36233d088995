import io
import re

import pytest
from rich.console import Console

from parade.cli.trace import _trees, duration_text
from parade.v1 import monitor_pb2


def span(id: str, parent: str, name: str, start: float, end: float, **given: object) -> monitor_pb2.Span:
    made = monitor_pb2.Span(span_id=id, parent_span_id=parent, name=name, service="dispatcher", **given)  # type: ignore[arg-type]
    made.start_time.FromMilliseconds(int(start * 1000))
    made.end_time.FromMilliseconds(int(end * 1000))
    return made


def lines(*spans: monitor_pb2.Span) -> list[str]:
    screen = Console(file=io.StringIO(), width=200)
    for tree in _trees(spans):
        screen.print(tree)
    text: str = screen.file.getvalue()  # type: ignore[attr-defined]
    return text.splitlines()


def test_spans_stand_under_what_caused_them_by_start() -> None:
    found = lines(
        span("3", "1", "late", 2, 3), span("1", "", "call", 0, 4), span("2", "1", "early", 1, 1.5), span("4", "2", "inner", 1.1, 1.2)
    )

    assert re.findall(r"^[│├└─ ]*\w+", "\n".join(found), re.MULTILINE) == ["call", "├── early", "│   └── inner", "└── late"]
    assert found[1].endswith("500 ms  +1.00 s  dispatcher")


def test_a_span_whose_parent_has_not_arrived_is_shown() -> None:
    found = lines(span("2", "1", "orphan", 1, 2), span("4", "", "call", 0, 1))

    assert [line.split()[0] for line in found] == ["call", "orphan"]


def test_a_failed_span_says_why() -> None:
    assert lines(span("1", "", "call", 0, 1, status=monitor_pb2.SPAN_STATUS_ERROR, status_message="gone"))[0].endswith("  gone")


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.0004, "0.4 ms"), (0.0124, "12 ms"), (0.9, "900 ms"), (1.5, "1.50 s"), (200, "3 min 20 s")]
)
def test_a_duration_is_written_as_people_read_it(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text
