"""Pictures in SVG, drawn on the server: where a version comes from, and what was spent of a budget.

Colours come from the style sheet by class. Every picture has a title and a description for who doesn't see it; every
text that comes from elsewhere is escaped.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

ROW, BOX_HEIGHT, BOX_WIDTH, GAP = 64, 46, 210, 70
TOP = 30
_LETTERS = 27  # of a name that fits into a box


@dataclass(frozen=True)
class Box:
    """One thing of a graph: what it is called, what is said below, and where it leads (a path, or empty)."""

    name: str
    below: str
    href: str = ""
    kind: str = ""  # a class of the style sheet


@dataclass(frozen=True)
class Graph:
    """Columns of boxes with a heading each; `edges` join (column, row) of one to (column, row) of a later one."""

    columns: tuple[tuple[str, tuple[Box, ...]], ...]
    edges: tuple[tuple[tuple[int, int], tuple[int, int]], ...]


def lineage(graph: Graph, title: str, about: str) -> Markup:
    """Return the graph as SVG, one column for each step from left to right."""
    tallest = max((len(boxes) for _, boxes in graph.columns), default=0)
    width = len(graph.columns) * (BOX_WIDTH + GAP) - GAP + 2
    height = TOP + tallest * ROW
    parts = [_edge(graph, *edge) for edge in graph.edges]
    for at, (heading, boxes) in enumerate(graph.columns):
        left = 1 + at * (BOX_WIDTH + GAP)
        parts.append(Markup('<text class="head" x="{}" y="14">{}</text>').format(left, heading))
        for row, box in enumerate(boxes):
            parts.append(_box(box, left, _top(len(boxes), row, tallest)))
    return _svg("lineage", title, about, width, height, parts)


def burn_down(
    spends: Sequence[tuple[dt.datetime, float]], allowed: float, start: dt.datetime, end: dt.datetime, title: str
) -> Markup:
    """Return what is left of `allowed` (rho) from `start` to `end` (UTC) as a falling staircase."""
    width, height, left, bottom, top = 560.0, 190.0, 8.0, 160.0, 22.0
    span = max((end - start).total_seconds(), 1.0)
    scale = allowed if allowed > 0 else 1.0

    def at(moment: dt.datetime, rest: float) -> tuple[float, float]:
        share = min(max((moment - start).total_seconds() / span, 0.0), 1.0)
        return left + share * (width - 2 * left), bottom - max(rest, 0.0) / scale * (bottom - top)

    rest, corners = allowed, [at(start, allowed)]
    for moment, rho in spends:
        corners.append(at(moment, rest))
        rest -= rho
        corners.append(at(moment, rest))
    corners.append(at(end, rest))
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in corners)
    area = f"{line} {corners[-1][0]:.1f},{bottom} {left},{bottom}"
    share = max(rest, 0.0) / scale
    about = f"{len(spends)} spends; {share:.0%} of the budget's rho is left."
    parts = [
        Markup('<line class="grid" x1="{0}" x2="{1}" y1="{2}" y2="{2}"/>').format(left, width - left, top),
        Markup('<polygon class="area" points="{}"/><polyline class="line" points="{}"/>').format(area, line),
        Markup('<line class="axis" x1="{0}" x2="{1}" y1="{2}" y2="{2}"/>').format(left, width - left, bottom),
        Markup('<text x="{}" y="{}">{}</text>').format(left, top - 8, f"rho {allowed:.4g} allowed"),
        Markup('<text x="{}" y="{}" text-anchor="end" class="strong">{}</text>').format(
            width - left, top - 8, f"{share:.0%} left"
        ),
        Markup('<text x="{}" y="{}">{}</text>').format(left, bottom + 18, f"{start:%Y-%m-%d}"),
        Markup('<text x="{}" y="{}" text-anchor="end">{}</text>').format(width - left, bottom + 18, f"{end:%Y-%m-%d}"),
    ]
    return _svg("burn", title, about, width, height, parts)


def _top(count: int, row: int, tallest: int) -> float:
    return TOP + (tallest - count) * ROW / 2 + row * ROW


def _edge(graph: Graph, begin: tuple[int, int], end: tuple[int, int]) -> Markup:
    tallest = max(len(boxes) for _, boxes in graph.columns)
    x0 = 1 + begin[0] * (BOX_WIDTH + GAP) + BOX_WIDTH
    x1 = 1 + end[0] * (BOX_WIDTH + GAP)
    y0 = _top(len(graph.columns[begin[0]][1]), begin[1], tallest) + BOX_HEIGHT / 2
    y1 = _top(len(graph.columns[end[0]][1]), end[1], tallest) + BOX_HEIGHT / 2
    middle = (x0 + x1) / 2
    return Markup('<path class="edge" d="M{} {} C{} {} {} {} {} {}"/>').format(
        x0, y0, middle, y0, middle, y1, x1 - 2, y1
    )


def _box(box: Box, left: float, top: float) -> Markup:
    name = box.name if len(box.name) <= _LETTERS else box.name[: _LETTERS - 1] + "…"
    drawn = Markup(
        '<rect class="box {}" x="{}" y="{}" width="{}" height="{}" rx="6"/>'
        '<text class="strong" x="{}" y="{}">{}</text><text x="{}" y="{}">{}</text>'
    ).format(box.kind, left, top, BOX_WIDTH, BOX_HEIGHT, left + 12, top + 19, name, left + 12, top + 36, box.below)
    return Markup('<a href="{}">{}</a>').format(box.href, drawn) if box.href else drawn


def _svg(kind: str, title: str, about: str, width: float, height: float, parts: Sequence[Markup]) -> Markup:
    drawn = Markup("").join(parts)
    return Markup(
        '<svg class="{}" width="{:.0f}" viewBox="0 0 {:.0f} {:.0f}" role="group" aria-label="{}">'
        "<title>{}</title><desc>{}</desc>{}</svg>"
    ).format(kind, width, width, height, escape(title), title, about, drawn)
