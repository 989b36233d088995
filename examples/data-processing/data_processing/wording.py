"""How figures are written for people."""

import math


def amount(value: float | None) -> str:
    """Returns a number with as many digits as people can use: thousands separated, four significant digits below."""
    if value is None:
        return "–"
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 1e15 or size < 1e-4:
        return f"{value:.3g}"
    if size >= 1000 or float(value).is_integer():
        return f"{value:,.0f}"
    decimals = max(0, 3 - math.floor(math.log10(size)))
    return f"{value:.{decimals}f}".rstrip("0").rstrip(".")


def percent(part: float) -> str:
    """Returns a part of 1 as a percentage: with a decimal near nothing and near all, and never rounded to all or nothing."""
    hundredths = part * 100
    if 0 < abs(hundredths) < 0.1:
        return "under 0.1 %"
    if 99.9 < hundredths < 100:
        return "over 99.9 %"
    fine = abs(hundredths) < 10 or 99 < hundredths < 100
    return f"{hundredths:.1f}".removesuffix(".0") + " %" if fine else f"{hundredths:.0f} %"


def size(count: int) -> str:
    """Returns a number of bytes in the unit that suits it."""
    value = float(count)
    for unit in ("bytes", "KiB", "MiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "bytes" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} GiB"
