"""CPU seconds against lines as one SVG, both axes logarithmic: a stage whose cost is linear has slope 1."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 760, 460, 70, 50, 30, 230
COLOURS = ("#0b6e4f", "#c1440e", "#26547c", "#8f2d56", "#b8860b", "#5b5f97", "#2e8b8b", "#555555")

Points = Sequence[tuple[int, float]]


def plot(slopes: Mapping[str, Points]) -> str:
    """Return the picture of each stage's points (lines, CPU seconds), joined, with its slope in the legend.

    The slope is that between the two largest sizes, where what a stage costs at any size counts least: 1 is linear.
    """
    drawn = {name: sorted(points) for name, points in slopes.items() if points}
    sizes = [size for points in drawn.values() for size, _ in points]
    costs = [max(cost, 0.01) for points in drawn.values() for _, cost in points]
    low_x, high_x = math.floor(math.log10(min(sizes))), math.ceil(math.log10(max(sizes)))
    low_y, high_y = math.floor(math.log10(min(costs))), math.ceil(math.log10(max(costs)))

    def across(size: float) -> float:
        return LEFT + (math.log10(size) - low_x) / (high_x - low_x) * (WIDTH - LEFT - RIGHT)

    def up(cost: float) -> float:
        return HEIGHT - BOTTOM - (math.log10(max(cost, 0.01)) - low_y) / (high_y - low_y) * (HEIGHT - BOTTOM - TOP)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        'font-size="12"><title>CPU seconds of each stage against receipt lines</title>'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>'
    ]
    parts += [_mark(across(10**n), HEIGHT - BOTTOM, f"{10**n:,}", down=True) for n in range(low_x, high_x + 1)]
    parts += [_mark(LEFT, up(10**n), f"{10**n:g}", down=False) for n in range(low_y, high_y + 1)]
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, "receipt lines", "middle"))
    parts.append(_text(LEFT, 16, "CPU seconds of a stage", "start"))
    for number, (name, points) in enumerate(drawn.items()):
        colour = COLOURS[number % len(COLOURS)]
        path = " ".join(f"{across(size):.1f},{up(cost):.1f}" for size, cost in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{across(s):.1f}" cy="{up(c):.1f}" r="3.5" fill="{colour}"/>' for s, c in points]
        place = TOP + 18 * number + 10
        parts.append(f'<rect x="{WIDTH - RIGHT + 16}" y="{place - 9}" width="14" height="4" fill="{colour}"/>')
        label = name if len(points) < 2 else f"{name}: slope {slope(points):.2f}"
        parts.append(_text(WIDTH - RIGHT + 36, place - 3, label, "start"))
    return "".join([*parts, "</svg>\n"])


def slope(points: Points) -> float:
    """Return the slope between the last two points, by their logarithms."""
    (less, cheap), (more, dear) = points[-2:]
    return math.log(max(dear, 0.01) / max(cheap, 0.01)) / math.log(more / less)


def _mark(x: float, y: float, label: str, *, down: bool) -> str:
    grid = (x, TOP, x, HEIGHT - BOTTOM) if down else (LEFT, y, WIDTH - RIGHT, y)
    place = _text(x, y + 18, label, "middle") if down else _text(x - 8, y + 4, label, "end")
    x1, y1, x2, y2 = grid
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="#dddddd"/>{place}'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="#222222">{text}</text>'
