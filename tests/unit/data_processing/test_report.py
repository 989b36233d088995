import json
import random
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path

import pytest

from data_processing.wording import amount, percent, size
from tests.unit.data_processing.pipeline import Outcome, analyse

PACKAGED = Path(str(files("vega_datasets"))) / "_data"


class Page(HTMLParser):
    """What a browser would see of a page: headings, pictures, identifiers, and what it would fetch."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.pictures = 0
        self.identifiers: list[str] = []
        self.fetched: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.pictures += tag == "svg"
        for name, value in attributes:
            if name == "id" and value:
                self.identifiers.append(value)
            if name in ("src", "href", "xlink:href") and value and not value.startswith("#"):
                self.fetched.append(value)


def page_of(outcome: Outcome) -> Page:
    return Page(Path(outcome.report.report).read_text())


def test_a_real_table_gives_a_whole_report(tmp_path: Path) -> None:
    outcome = analyse((PACKAGED / "cars.json").read_bytes(), tmp_path)

    page = page_of(outcome)
    assert page.pictures == outcome.report.charts > 15
    assert page.fetched == []
    assert len(page.identifiers) == len(set(page.identifiers))
    assert outcome.analysis.cleaned.missing_cells == 14
    assert any("Miles_per_Gallon is rising over Year" in finding for finding in outcome.report.findings)
    summary = json.loads(Path(outcome.report.summary).read_text())
    assert summary["run"] == "run-1"
    assert summary["cleaned"]["table"]["rows"] == 406
    assert len(summary["charts"]) == outcome.report.charts


def test_the_year_shows_in_the_weather(tmp_path: Path) -> None:
    outcome = analyse((PACKAGED / "seattle-weather.csv").read_bytes(), tmp_path)

    assert any("temp_max follows the year: 26.11 in August" in finding for finding in outcome.report.findings)


def test_the_same_source_leaves_the_same_files(tmp_path: Path) -> None:
    content = (PACKAGED / "iris.json").read_bytes()
    first = analyse(content, tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    second = analyse(content, tmp_path)

    assert second.report == first.report
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("name\nAnna\n", id="one value"),
        pytest.param("a,b\n1,\n2,\n", id="a column without values"),
        pytest.param("a,b\n5,x\n5,x\n5,x\n", id="constant columns"),
        pytest.param("größe,名前,🦊\n1,あ,2020-01-01\n2,い,2020-01-02\n3,う,2020-01-03\n", id="names in any script"),
        pytest.param("a.b,c[d],e:f,'g'\n" + "".join(f"{n},{n * n},{n % 3},x\n" for n in range(30)), id="names with punctuation"),
        pytest.param("when,v\n" + "".join(f"2020-01-0{n},{n}e300\n" for n in range(1, 9)), id="huge numbers"),
        pytest.param("v,w\n" + "".join(f"{n}e-12,{-n}\n" for n in range(1, 30)), id="tiny numbers"),
        pytest.param("t,v\n2020-01-01,1\n2020-01-01,2\n2020-01-01,3\n", id="one day"),
        pytest.param("a;b\n1,5;ja\n2,5;nein\n", id="semicolons"),
        pytest.param("<b>x</b>,y\n<script>alert(1)</script>,2\n<i>,3\n<i>,4\n", id="markup"),
    ],
)
def test_odd_tables_give_a_report_too(content: str, tmp_path: Path) -> None:
    outcome = analyse(content.encode(), tmp_path)

    page = page_of(outcome)
    assert page.pictures == outcome.report.charts
    assert "<script" not in Path(outcome.report.report).read_text()
    json.loads(Path(outcome.report.summary).read_text())


def test_a_very_wide_table_is_cut_and_says_so(tmp_path: Path) -> None:
    header = ",".join(f"c{number}" for number in range(200))
    rows = "\n".join(",".join(str((row * number) % 17) for number in range(200)) for row in range(30))

    outcome = analyse(f"{header}\n{rows}\n".encode(), tmp_path)

    assert len(outcome.analysis.columns) == 60
    assert any("200 columns; the first 60 were analysed" in remark for remark in outcome.collected.remarks)
    assert any("first 20 columns of numbers" in remark for remark in outcome.analysis.correlations.remarks)
    assert len(outcome.analysis.model_dump_json()) < 2 * 1024 * 1024


@pytest.mark.full
def test_a_large_table_travels_as_little(tmp_path: Path) -> None:
    source = random.Random(5)  # noqa: S311  # the same values every time
    rows = (
        f"2{number % 1000:03}-0{number % 9 + 1}-1{number % 9},{source.gauss(5, 2):.4f},{source.choice('abc')},text {number}"
        for number in range(100_000)
    )

    outcome = analyse(("day,value,group,note\n" + "\n".join(rows)).encode(), tmp_path)

    assert outcome.analysis.cleaned.table.rows == 100_000
    assert len(outcome.analysis.model_dump_json()) < 1024 * 1024


@pytest.mark.parametrize(
    ("value", "written"),
    [(0, "0"), (1234567, "1,234,567"), (12.3456, "12.35"), (0.012345, "0.01235"), (3.0, "3"), (1e20, "1e+20"), (None, "–")],
)
def test_amounts_are_written_for_people(value: float | None, written: str) -> None:
    assert amount(value) == written


def test_parts_are_never_rounded_to_all_or_nothing() -> None:
    assert [percent(part) for part in (0, 0.0001, 0.052, 0.5, 0.9962, 0.99999, 1)] == [
        "0 %",
        "under 0.1 %",
        "5.2 %",
        "50 %",
        "99.6 %",
        "over 99.9 %",
        "100 %",
    ]


def test_sizes_are_written_in_the_unit_that_suits() -> None:
    assert [size(512), size(100_000), size(3 * 1024**3)] == ["512 bytes", "97.7 KiB", "3.0 GiB"]
