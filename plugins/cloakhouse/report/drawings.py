"""The drawings of a validation report: how near figures are to their limits, attacks, and where a release comes from.

Colours come from the page; every number that is drawn stands in a table beside.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import sqrt
from statistics import NormalDist
from typing import Any

from cloakhouse.report.charts import BOTTOM, HEIGHT, TOP, Frame, drawing, grid, letters, points_of

Facts = Mapping[str, Any]
STEP, BAR, ROOM = 34.0, 9.0, 400.0  # of the bars: height of a row, of a bar, and width
PLACES = 60  # points of a drawn curve
LEAST_RATE = 0.001
NORMAL = NormalDist()


def nearness(figure: Facts) -> float | None:
    """Return how much of its threshold a figure uses up: 1 is at the limit, more is beyond; None without a number."""
    value, threshold = figure["value"], figure["threshold"]
    if value is None or threshold is None:
        return None
    if figure["at_most"]:
        return max(value, 0.0) / threshold if threshold > 0 else (0.0 if value <= threshold else 2.0)
    return threshold / value if value > 0 else 2.0


def nearness_chart(name: str, figures: Sequence[Facts]) -> str:
    """Return a bar for each figure, as long as what it uses of its limit; the dashed line is the limit.

    Figures are named by their `name`, and drawn in the order given; bars beyond the limit end at 1.2 times of it.
    """
    full = ROOM / 1.2
    height = 22 + STEP * len(figures)
    parts = [
        letters(0, 12, "share of the limit that is used", "strong"),
        letters(full, 12, "limit", "", "middle"),
        f'<line class="limit" x1="{full:.1f}" x2="{full:.1f}" y1="18" y2="{height:.1f}"/>',
    ]
    told = []
    for at, figure in enumerate(figures):
        used = nearness(figure)
        top = 22 + STEP * at
        shown = "not computed" if used is None else f"{used:.0%}"
        width = 0.0 if used is None else full * min(used, 1.2)
        kind = "good" if figure["passed"] else "bad"
        parts += [
            letters(0, top + 12, _short(str(figure["name"])), ""),
            letters(ROOM, top + 12, shown, "strong", "end"),
            f'<rect class="room" x="0" y="{top + 17:.1f}" width="{full:.1f}" height="{BAR}" rx="2"/>',
            f'<rect class="{kind}" x="0" y="{top + 17:.1f}" width="{max(width, 1.5):.1f}" height="{BAR}" rx="2"/>',
        ]
        told.append(f"{figure['name']}: {shown}")
    return drawing(name, "How near figures are to their limits", "; ".join(told), parts, height=height)


def attack_chart(name: str, by: str, rate: float, lines: Sequence[tuple[str, float, float, float]]) -> str:
    """Return true positives against false positives of attacks by `by` (rows or households), both logarithmic.

    `lines` has for each attack (two at most) its name, the area under its curve, and value and bound of its excess of
    true positives at the false positive `rate`. The curve is that which normal scores of this area have:
    TPR = Phi(sqrt(2) Phi^-1(AUC) + Phi^-1(FPR)), the binormal model of equal variances; the dot is measured.
    """
    ticks = [(0.001, "0.1 %"), (0.01, "1 %"), (0.1, "10 %"), (1.0, "100 %")]
    frame = Frame((LEAST_RATE, 1.0), (0.0, 1.0), logarithmic=True)
    rates = [LEAST_RATE ** (1 - step / PLACES) for step in range(PLACES + 1)]
    parts = [
        grid(frame, ticks, [(y / 4, f"{y * 25} %") for y in range(5)], "false positives"),
        f'<polyline class="even" points="{points_of([frame.at(x, x) for x in rates])}"/>',
        letters(46, 14, "true positives", "strong"),
    ]
    told = []
    for at, (attack, area, value, bound) in enumerate(lines[:2]):
        line, dot = ("line", "dot") if at == 0 else ("second", "dot2")
        curve = [frame.at(x, true_positives(area, x)) for x in rates]
        low, high = (frame.at(rate, min(max(rate + excess, 0.0), 1.0)) for excess in (value, bound))
        shift = 4.0 * at
        parts += [
            f'<polyline class="{line}" points="{points_of(curve)}"/>',
            f'<line class="whisker" x1="{low[0] + shift:.1f}" x2="{low[0] + shift:.1f}" '
            f'y1="{low[1]:.1f}" y2="{high[1]:.1f}"/>',
            f'<circle class="{dot}" cx="{low[0] + shift:.1f}" cy="{low[1]:.1f}" r="4"/>',
            f'<rect class="{dot}" x="54" y="{TOP + 6 + 18 * at:.1f}" width="10" height="10" rx="2"/>',
            letters(69, TOP + 15 + 18 * at, f"{attack}, area {area:.3f}", ""),
        ]
        told.append(
            f"{attack}: area {area:.3f}, {rate + value:.3f} true positives at {rate:g} false positives, "
            f"at most {rate + bound:.3f}"
        )
    parts.append(letters(388, HEIGHT - BOTTOM - 8, "dashed: guessing", "", "end"))
    return drawing(name, f"What attacks by {by} reach", "; ".join(told), parts)


def true_positives(area: float, rate: float) -> float:
    """Return the share of true positives at the false positive `rate` of normal scores with this area (0-1)."""
    if not 0 < rate < 1:
        return rate
    inside = min(max(area, 1e-6), 1 - 1e-6)
    return NORMAL.cdf(sqrt(2) * NORMAL.inv_cdf(inside) + NORMAL.inv_cdf(rate))


def lineage_chart(name: str, sources: Sequence[Facts], made: str, release: str) -> str:
    """Return the way from protected sources through what `made` the rows to the `release`."""
    height = max(len(sources) * 58.0, 58.0)
    middle = height / 2
    parts = []
    for at, source in enumerate(sources):
        y = (at + 0.5) * height / max(len(sources), 1)
        parts += [
            _box(0, y, 150, str(source["dataset"]), _partitions(source)),
            f'<path class="flow" d="M150 {y:.1f} C 180 {y:.1f} 170 {middle:.1f} 198 {middle:.1f}"/>',
        ]
    parts += [
        f'<polygon class="tip" points="{points_of([(205, middle), (197, middle - 4), (197, middle + 4)])}"/>',
        _box(206, middle, 140, *_halves(made)),
        f'<path class="flow" d="M346 {middle:.1f} L 366 {middle:.1f}"/>',
        f'<polygon class="tip" points="{points_of([(373, middle), (365, middle - 4), (365, middle + 4)])}"/>',
        _box(374, middle, 186, *_halves(release)),
    ]
    told = ", ".join(f"{s['dataset']} ({_partitions(s)})" for s in sources)
    about = f"From {told or 'no source'} by {made.replace(chr(10), ', ')} to {release.replace(chr(10), ', ')}."
    svg = drawing(name, "Where the release comes from", about, parts, height=height)
    return svg.replace('viewBox="0 0 400 ', 'viewBox="0 0 560 ', 1)


def _box(x: float, y: float, width: float, first: str, second: str) -> str:
    return (
        f'<rect class="box" x="{x + 0.5:.1f}" y="{y - 22:.1f}" width="{width - 1:.1f}" height="44" rx="5"/>'
        + letters(x + 9, y - 3, _fit(first, width), "strong")
        + letters(x + 9, y + 14, _fit(second, width), "")
    )


def _fit(said: str, width: float) -> str:
    most = int((width - 16) / 6.6)
    return said if len(said) <= most else said[: most - 1] + "…"


def _halves(said: str) -> tuple[str, str]:
    first, _, second = said.partition("\n")
    return first, second


def _partitions(source: Facts) -> str:
    number = source["partitions"]
    return f"{number:,} partition" if number == 1 else f"{number:,} partitions"


def _short(name: str) -> str:
    return name if len(name) <= 62 else name[:61] + "…"


def percent_of(share: float | None) -> str:
    """Return a share (0-1) in percent, never rounded up to 100."""
    if share is None:
        return "–"
    return "100 %" if share >= 1 else f"{min(share, 0.9999):.2%}".replace("%", " %")
