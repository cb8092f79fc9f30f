"""The curve of utility against epsilon: charts and the same figures as a table, with the release marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

from cloakhouse.client.epsilon_use import mean_distance
from cloakhouse.errors import ContractError
from cloakhouse.report.charts import between, curve_chart
from cloakhouse.report.parts import NONE, decimals, number, paragraph, section, table

Facts = Mapping[str, Any]


@dataclass(frozen=True)
class CurvePoint:
    """What rows at another epsilon would be worth.

    Attributes:
        epsilon: above 0.
        tvd: mean total variation distance of pairs of columns, 0-1.
        tstr: mean AUC of models trained on such rows, 0-1; None where there is no task.
    """

    epsilon: float
    tvd: float
    tstr: float | None = None


def curve_section(epsilon: float, utility: Facts | None, curve: Sequence[CurvePoint]) -> str:
    """Return the section with the curve of utility against epsilon, and the release at `epsilon` marked on it.

    Raises ContractError for a point that holds no usable number.
    """
    points = _checked(curve)
    name, title = "curve", "What more or less epsilon would buy"
    if len(points) < 2:
        return section(name, title, paragraph("No curve was measured for this release."))
    distances = [(p.epsilon, p.tvd) for p in points]
    tasks = [(p.epsilon, p.tstr) for p in points if p.tstr is not None]
    charts = [_chart("tvd", "distance of pairs (lower is better)", distances, epsilon)]
    if len(tasks) > 1:
        charts.append(_chart("tstr", "AUC of trained models (higher is better)", tasks, epsilon))
    rows: list[tuple[str, ...]] = [(number(p.epsilon), decimals(p.tvd), decimals(p.tstr)) for p in points]
    here = next((at for at, p in enumerate(points) if p.epsilon == epsilon), None)
    if here is None:
        here = sum(p.epsilon < epsilon for p in points)
        figures = [decimals(between(line, epsilon)) for line in (distances, tasks)]
        where = "" if figures[0] == NONE else ", between"
        rows.insert(here, (f"{number(epsilon)} (this release{where})", *figures))
    else:
        rows[here] = (f"{rows[here][0]} (this release)", *rows[here][1:])
    measured = mean_distance(utility, 2)
    real = (
        "" if measured is None else f"Against the real rows this release itself has a distance of {decimals(measured)}."
    )
    return section(
        name,
        title,
        paragraph(
            "A smaller epsilon needs more noise, and the rows follow the real ones less.",
            "The marked point is this release.",
        ),
        f'<figure><div class="{"pair two" if len(charts) > 1 else "pair"}">{"".join(charts)}</div></figure>',
        paragraph(
            "<strong>The curve cost no budget.</strong> The engine was run again at each epsilon on the published "
            "synthetic rows, as a stand-in for the real population, and compared with those rows. No real row was "
            "looked at: it is post-processing. So read the shape of the curve, where it is steep and where it is flat, "
            "and not its height.",
            real,
        ),
        table("The same in figures", ("epsilon", "distance of pairs", "AUC"), rows, here=here),
    )


def _chart(name: str, title: str, points: Sequence[tuple[float, float]], epsilon: float) -> str:
    told = ", ".join(f"{number(x)}: {decimals(y)}" for x, y in points)
    about = f"Measured at these values of epsilon: {told}. This release is at {number(epsilon)}."
    return f"<div>{curve_chart(name, title, points, epsilon, about)}</div>"


def _checked(curve: Sequence[CurvePoint]) -> list[CurvePoint]:
    for point in curve:
        values = [point.epsilon, point.tvd, *([] if point.tstr is None else [point.tstr])]
        if not all(isfinite(v) for v in values) or point.epsilon <= 0 or not 0 <= point.tvd <= 1:
            raise ContractError(
                where="the curve of utility against epsilon",
                expected="points with an epsilon above 0 and a distance within 0-1, all finite",
                found="a point that is none",
                not_done="no page was written",
                remedy="measure the curve again",
            )
    return sorted({point.epsilon: point for point in curve}.values(), key=lambda point: point.epsilon)
