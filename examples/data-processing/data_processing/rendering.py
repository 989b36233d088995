"""From charts to pictures: SVG that stands by itself, needs no network, and shares a page with others."""

import re

import vl_convert

from data_processing.charts import AnyChart, themed
from data_processing.files import digest

IDENTIFIER = re.compile(r'\bid="([^"]+)"')
REFERENCE = re.compile(r"url\(#([^)]+)\)")


def render(chart: AnyChart) -> bytes:
    """Draws a chart as SVG.

    Returns:
        The SVG, the same for the same chart.
    """
    svg = vl_convert.vegalite_to_svg(themed(chart).to_dict(), allowed_base_urls=[])
    return with_own_identifiers(svg).encode()


def with_own_identifiers(svg: str) -> str:
    """Names what a picture refers to by the picture itself and in order.

    All pictures of a page share one space of identifiers, and the renderer counts its own through the life of the process.
    """
    found = list(dict.fromkeys(IDENTIFIER.findall(svg)))
    numbered = _renamed(svg, {name: f"part-{number}" for number, name in enumerate(found)})
    picture = digest(numbered.encode())[:10]
    return _renamed(numbered, {f"part-{number}": f"{picture}-{number}" for number in range(len(found))})


def _renamed(svg: str, names: dict[str, str]) -> str:
    declared = IDENTIFIER.sub(lambda match: f'id="{names[match[1]]}"', svg)
    return REFERENCE.sub(lambda match: f"url(#{names.get(match[1], match[1])})", declared)
