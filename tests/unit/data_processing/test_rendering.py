from xml.etree import ElementTree as ET

from data_processing.charts import bars, histogram
from data_processing.model.statistics import Bin, Level
from data_processing.rendering import render, with_own_identifiers

LEVELS = [Level(value=name, count=count, share=count / 6) for name, count in (("a <b>", 3), ("ü&", 2), ("c", 1))]


def test_a_chart_becomes_a_picture_that_stands_by_itself() -> None:
    svg = render(histogram([Bin(start=0, end=5, count=3), Bin(start=5, end=10, count=7)], "€"))

    assert ET.fromstring(svg).tag == "{http://www.w3.org/2000/svg}svg"  # noqa: S314  # our own picture
    assert b"var(--series-1" in svg
    assert "€" in svg.decode()


def test_the_same_chart_is_the_same_picture_however_many_were_drawn_before() -> None:
    assert render(bars(LEVELS)) == render(bars(LEVELS))


def test_pictures_on_one_page_do_not_share_identifiers() -> None:
    one = with_own_identifiers('<svg><clipPath id="clip0"/><g clip-path="url(#clip0)"/></svg>')
    other = with_own_identifiers('<svg><clipPath id="clip0"/><g clip-path="url(#clip0)"/><g/></svg>')

    names = [svg.split('id="')[1].split('"')[0] for svg in (one, other)]
    assert names[0] != names[1]
    assert f"url(#{names[0]})" in one
