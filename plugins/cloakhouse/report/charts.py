"""Small charts in SVG for pages: their colours come from the page's style sheet, their numbers are in a table beside.

A chart is 400 by 260 units with letters of 12, so that they can be read on a phone. It has a title and a description
for those who don't see it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, exp, floor, log

from cloakhouse.report.parts import decimals, number, text

WIDTH, HEIGHT = 400.0, 260.0
LEFT, RIGHT, TOP, BOTTOM = 46.0, 20.0, 30.0, 44.0
STEPS = 80  # of a drawn curve
TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
STEPS_OF_SHARES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
BAR_STEP, BAR_ROOM = 52.0, 340.0
Point = tuple[float, float]
Bar = tuple[str, float | None, float | None]


@dataclass(frozen=True)
class Frame:
    """Axes: the range of both, and whether x is logarithmic."""

    x: tuple[float, float]
    y: tuple[float, float]
    logarithmic: bool = False

    def at(self, x: float, y: float) -> Point:
        """Return where a point is in the chart."""
        place: Callable[[float], float] = log if self.logarithmic else float
        share = (place(x) - place(self.x[0])) / (place(self.x[1]) - place(self.x[0]))
        height = (y - self.y[0]) / (self.y[1] - self.y[0])
        return LEFT + share * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - height * (HEIGHT - TOP - BOTTOM)


def bounds_chart(name: str, epsilon: float) -> str:
    """Return the chart of what may be believed at most and at least afterwards, against what was believed before."""
    frame = Frame((0, 1), (0, 1))
    shares = [step / STEPS for step in range(STEPS + 1)]
    upper = [frame.at(p, posterior(p, epsilon)) for p in shares]
    lower = [frame.at(p, posterior(p, -epsilon)) for p in shares]
    ticks = (0, 0.25, 0.5, 0.75, 1)
    parts = [
        grid(frame, [(t, f"{t:.0%}") for t in ticks], [(t, f"{t:.0%}") for t in ticks], "believed before"),
        f'<polygon class="area" points="{points_of([*upper, *reversed(lower)])}"/>',
        f'<polyline class="even" points="{points_of([frame.at(0, 0), frame.at(1, 1)])}"/>',
        *(f'<polyline class="line" points="{points_of(line)}"/>' for line in (upper, lower)),
        letters(LEFT, 16, "believed after", "strong"),
    ]
    about = (
        "The share believed before runs along the bottom, the share that may be believed after upwards. "
        "The band between the two lines is what differential privacy allows; the dashed diagonal is to learn nothing."
    )
    return drawing(name, "What may be believed before and after", about, parts)


def curve_chart(name: str, title: str, points: Sequence[Point], release: float, about: str) -> str:
    """Return the chart of `points` (epsilon, figure), ascending, two at least, with a mark at epsilon `release`.

    The mark lies on the line between points; outside of them there is a line and no point.
    """
    low, high = min(points[0][0], release), max(points[-1][0], release)
    marks = _marks(min(y for _, y in points), max(y for _, y in points))
    frame = Frame((low / 1.15, high * 1.15), (marks[0], marks[-1]), logarithmic=True)
    drawn = [frame.at(*point) for point in points]
    ticks = [(t, number(t)) for t in TICKS if frame.x[0] <= t <= frame.x[1]] or [(release, number(release))]
    if len(ticks) > 8:
        ticks = [tick for tick in ticks if round(log(tick[0], 10), 6).is_integer()]
    x, _ = frame.at(release, frame.y[0])
    side = "end" if x > WIDTH * 0.55 else "start"
    free = HEIGHT - BOTTOM - 8 if points[-1][1] > points[0][1] else TOP + 10  # a rising line leaves room below it
    parts = [
        grid(frame, ticks, [(y, number(y)) for y in marks], "epsilon (each step to the right multiplies it)"),
        f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP:.1f}" y2="{HEIGHT - BOTTOM:.1f}"/>',
        f'<polyline class="line" points="{points_of(drawn)}"/>',
        *(f'<circle class="dot" cx="{cx:.1f}" cy="{cy:.1f}" r="3"/>' for cx, cy in drawn),
        letters(LEFT, 14, title, "strong"),
        letters(x + (-5 if side == "end" else 5), free, f"this release, ε = {number(release)}", "marked", side),
    ]
    height = between(points, release)
    if height is not None:
        cx, cy = frame.at(release, height)
        parts.append(f'<circle class="release" cx="{cx:.1f}" cy="{cy:.1f}" r="6"/>')
    return drawing(name, title, about, parts)


def account_chart(name: str, spent: float, left: float) -> str:
    """Return a bar of what is spent and what is left (epsilon, 0 or more, not both 0)."""
    share = spent / (spent + left)
    about = f"{number(spent)} is spent, {number(left)} is left."
    parts = [
        '<rect class="left" x="0" y="22" width="400" height="14" rx="3"/>',
        f'<rect class="spent" x="0" y="22" width="{400 * share:.1f}" height="14" rx="3"/>',
        letters(0, 14, f"spent: ε = {number(spent)}", "marked"),
        letters(400, 14, f"left: ε = {number(left)}", "strong", "end"),
    ]
    return drawing(name, "The account", about, parts, height=40)


def bars_chart(
    name: str, title: str, bars: Sequence[Bar], legend: tuple[str, str], about: str, start: float = 0
) -> str:
    """Return pairs of horizontal bars: label, figure of the release (or None), and what it is compared with (or None).

    All bars begin at `start`; figures are written beside them. `legend` names the two.
    """
    known = [value for _, *pair in bars for value in pair if value is not None]
    most = max([*known, start + 1e-9])
    parts = [
        letters(0, 14, title, "strong"),
        '<rect class="dot" x="0" y="26" width="10" height="10" rx="2"/>',
        letters(15, 35, legend[0], ""),
        '<rect class="left" x="200" y="26" width="10" height="10" rx="2"/>',
        letters(215, 35, legend[1], ""),
    ]
    for at, (label, *pair) in enumerate(bars):
        top = 52.0 + at * BAR_STEP
        parts.append(letters(0, top + 8, label, "strong"))
        for row, (value, kind) in enumerate(zip(pair, ("dot", "left"), strict=True)):
            width = 0.0 if value is None else BAR_ROOM * max(value - start, 0) / (most - start)
            height = top + 14 + row * 13
            parts.append(f'<rect class="{kind}" x="0" y="{height:.1f}" width="{width:.1f}" height="10" rx="2"/>')
            parts.append(letters(width + 6, height + 9, decimals(value), ""))
    return drawing(name, title, about, parts, height=52 + len(bars) * BAR_STEP)


def posterior(prior: float, epsilon: float) -> float:
    """Return p e^epsilon / (p e^epsilon + 1 - p), the most that a belief of `prior` may become; with -epsilon, the
    least."""
    if prior <= 0 or prior >= 1:
        return prior
    odds = log(prior / (1 - prior)) + epsilon
    return 1 / (1 + exp(-odds)) if odds > -700 else 0.0


def between(points: Sequence[Point], x: float) -> float | None:
    """Return the height of the line through `points` at `x`, straight over the logarithm of x; None outside."""
    for (x0, y0), (x1, y1) in pairwise(points):
        if x0 <= x <= x1:
            share = (log(x) - log(x0)) / (log(x1) - log(x0)) if x1 > x0 else 0.0
            return y0 + share * (y1 - y0)
    return None


def _marks(low: float, high: float) -> list[float]:
    """Return two to seven round numbers, from at most `low` to at least `high`; they begin at 0 where that is near."""
    low = 0.0 if low < (high - low) * 1.5 else low
    step = next((s for s in STEPS_OF_SHARES if ceil(high / s) - floor(low / s) <= 5), 1.0)
    return [round(at * step, 9) for at in range(floor(low / step), max(ceil(high / step), floor(low / step) + 1) + 1)]


def grid(frame: Frame, xs: Sequence[tuple[float, str]], ys: Sequence[tuple[float, str]], under: str) -> str:
    """Return lines and ticks of `frame` at `xs` and `ys`, with what is written beside them and `under` the axis."""
    base = HEIGHT - BOTTOM
    parts = []
    for y, said in ys:
        _, height = frame.at(frame.x[0], y)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{height:.1f}" y2="{height:.1f}"/>')
        parts.append(letters(LEFT - 6, height + 4, said, "", "end"))
    for x, said in xs:
        parts.append(letters(frame.at(x, frame.y[0])[0], base + 17, said, "", "middle"))
    parts.append(f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{base}" y2="{base}"/>')
    parts.append(letters((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, under, "", "middle"))
    return "".join(parts)


def letters(x: float, y: float, said: str, kind: str, anchor: str = "start") -> str:
    """Return a text at a place; `kind` is its class, `anchor` start, middle or end."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{kind}">{text(said)}</text>'


def points_of(points: Sequence[Point]) -> str:
    """Return points as SVG lists them."""
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def drawing(name: str, title: str, about: str, parts: Sequence[str], height: float = HEIGHT) -> str:
    """Return the SVG of `parts`, with a title and a description for those who don't see it."""
    return (
        f'<svg viewBox="0 0 {WIDTH:.0f} {height:.0f}" role="img" aria-labelledby="{name}-title {name}-desc">'
        f'<title id="{name}-title">{text(title)}</title><desc id="{name}-desc">{text(about)}</desc>'
        + "".join(parts)
        + "</svg>"
    )
