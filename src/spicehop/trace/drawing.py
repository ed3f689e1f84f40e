"""Small helpers for SVG text: elements, axis ticks, labels that do not overlap, and the colours of the picture."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape

STYLE = """
.sh{font-family:ui-sans-serif,system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
.sh .page{fill:#ffffff}
.sh .title{font-size:17px;font-weight:650;fill:#14202e}
.sh .subtitle{font-size:12.5px;fill:#5a6b7d}
.sh .panel{font-size:13px;font-weight:600;fill:#14202e}
.sh .lane{font-size:12.5px;fill:#26364a}
.sh .lane-sub{font-size:12px;fill:#26364a}
.sh .stripe{fill:#f5f7fa}
.sh .rule{stroke:#d9e0e8;stroke-width:1}
.sh .grid{stroke:#e6ebf1;stroke-width:1}
.sh .tick{font-size:11px;fill:#5a6b7d;font-variant-numeric:tabular-nums}
.sh .call{font-size:11.5px;font-weight:600;fill:#14202e}
.sh .call-time{font-size:10.5px;fill:#5a6b7d;font-variant-numeric:tabular-nums}
.sh .lead{stroke:#93a3b5;stroke-width:1;fill:none}
.sh .drop{stroke:#93a3b5;stroke-width:1;stroke-dasharray:2 3}
.sh .in-bar{font-size:11px;font-weight:600;fill:#ffffff}
.sh .by-bar{font-size:11px;fill:#5a6b7d;font-variant-numeric:tabular-nums}
.sh .legend{font-size:11.5px;fill:#26364a}
.sh .window{fill:#e0edff;fill-opacity:.55;stroke:#7aa7e6;stroke-width:1}
.sh .source{fill:#2f6fd0}.sh .target{fill:#0f8f6b}.sh .stopped{fill:#d4453a}
.sh .link{fill:#8c6bd6}.sh .connect{fill:#b39ae6}.sh .copy{fill:#5a87d6}.sh .last-copy{fill:#2b5cae}
.sh .hand-over{fill:#7d8b9c}.sh .flush{fill:#e0a100}.sh .data{fill:#dd7a1f}.sh .swap{fill:#12936f}
.sh .first-picture{fill:#c25694}.sh .conductor{fill:#66788c}.sh .stock{fill:#3f6f86}
.sh .mark{stroke:#ffffff;stroke-width:1.2}
.sh .mark-client{fill:#7a52cc}.sh .mark-source{fill:#2f6fd0}.sh .mark-target{fill:#0f8f6b}
.sh .mark-conductor{fill:#66788c}.sh .mark-guest{fill:#a5651a}.sh .mark-other{fill:#66788c}
@media (prefers-color-scheme:dark){
.sh .page{fill:#10161e}
.sh .title,.sh .panel,.sh .call{fill:#e8eef5}
.sh .subtitle,.sh .tick,.sh .call-time,.sh .by-bar{fill:#9db0c4}
.sh .lane,.sh .lane-sub,.sh .legend{fill:#cfdae6}
.sh .stripe{fill:#161e28}.sh .rule{stroke:#2c3947}.sh .grid{stroke:#222d39}
.sh .lead,.sh .drop{stroke:#5f7286}
.sh .window{fill:#1d3557;fill-opacity:.6;stroke:#4877b8}
.sh .source{fill:#4c8bec}.sh .target{fill:#22ab83}.sh .stopped{fill:#e5645a}
.sh .link{fill:#9d80e0}.sh .connect{fill:#7459b3}.sh .copy{fill:#47699f}.sh .last-copy{fill:#4c8bec}
.sh .hand-over{fill:#74859a}.sh .flush{fill:#c99411}.sh .data{fill:#d98236}.sh .swap{fill:#22ab83}
.sh .first-picture{fill:#cf6ba4}.sh .conductor{fill:#8497ab}.sh .stock{fill:#5e96b0}
.sh .mark{stroke:#10161e}
.sh .mark-client{fill:#a585ea}.sh .mark-source{fill:#5e99f2}.sh .mark-target{fill:#2cbd92}
.sh .mark-conductor,.sh .mark-other{fill:#93a6ba}.sh .mark-guest{fill:#d08d3c}
}
"""
"""Colours and fonts, light and dark. Every rule begins with `.sh`, so that it can stand in a page."""


def text(x: float, y: float, content: str, kind: str, anchor: str = "start") -> str:
    """A text element of the class `kind`."""
    end = "" if anchor == "start" else f' text-anchor="{anchor}"'
    return f'<text x="{_n(x)}" y="{_n(y)}" class="{kind}"{end}>{escape(content)}</text>'


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    """A straight line of the class `kind`."""
    return f'<line x1="{_n(x1)}" y1="{_n(y1)}" x2="{_n(x2)}" y2="{_n(y2)}" class="{kind}"/>'


def box(x: float, y: float, width: float, height: float, kind: str, *, title: str = "", radius: float = 0) -> str:
    """A rectangle of the class `kind`, with a tooltip when there is a `title`."""
    round_corners = f' rx="{_n(radius)}"' if radius else ""
    start = f'<rect x="{_n(x)}" y="{_n(y)}" width="{_n(width)}" height="{_n(height)}"{round_corners} class="{kind}"'
    return f"{start}><title>{escape(title)}</title></rect>" if title else start + "/>"


def diamond(x: float, y: float, size: float, kind: str, title: str) -> str:
    """An event mark with its tooltip."""
    points = " ".join(f"{_n(px)},{_n(py)}" for px, py in ((x, y - size), (x + size, y), (x, y + size), (x - size, y)))
    return f'<polygon points="{points}" class="mark {kind}"><title>{escape(title)}</title></polygon>'


def path(points: Iterable[tuple[float, float]], kind: str) -> str:
    """A line through `points`."""
    return f'<polyline points="{" ".join(f"{_n(x)},{_n(y)}" for x, y in points)}" class="{kind}"/>'


def ticks(low: float, high: float, most: int) -> list[float]:
    """Round values between `low` and `high`, at most about `most` of them, 1, 2 or 5 times a power of ten apart."""
    span = high - low
    if span <= 0:
        return [low]
    rough = span / max(1, most)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(index * step, 9) for index in range(first, math.floor(high / step + 1e-9) + 1)]


def spread(wanted: Sequence[float], widths: Sequence[float], low: float, high: float) -> list[float]:
    """Centres for labels of `widths`, near the sorted `wanted`, without overlap, between `low` and `high`.

    When they do not fit, they overlap evenly instead of leaving the range.
    """
    placed: list[float] = []
    edge = low
    for centre, width in zip(wanted, widths, strict=True):
        placed.append(max(centre, edge + width / 2))
        edge = placed[-1] + width / 2
    edge = high
    for index in range(len(placed) - 1, -1, -1):
        placed[index] = min(placed[index], edge - widths[index] / 2)
        edge = placed[index] - widths[index] / 2
    if placed and edge < low:
        shift = (low - edge) / max(1, len(placed) - 1)
        placed = [centre + (low - edge) - shift * index for index, centre in enumerate(placed)]
    return placed


def width_of(content: str, size: float) -> float:
    """About how wide `content` is at a font size, for the wider of the usual proportional fonts."""
    return size * sum(0.42 if c in _NARROW else 0.72 if c.isupper() or c in _WIDE else 0.62 for c in content)


_NARROW = frozenset("ijl.,:;|!'()[] ftI")
_WIDE = frozenset("mw@%")


def _n(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
