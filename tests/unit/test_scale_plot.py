"""The picture of the scale bench: slopes are those of the points, and the picture is whole XML."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from tests.bench.scale_plot import plot, slope


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_the_slope_of_a_power_is_its_exponent(power: float) -> None:
    points = [(n, 3.0 * n**power) for n in (1_000, 10_000, 500_000)]
    assert slope(points) == pytest.approx(power)


def test_every_stage_has_a_line_a_dot_a_size_and_its_slope_in_the_legend() -> None:
    drawn = ElementTree.fromstring(plot({"land": [(1_000, 1.0), (10_000, 10.0)], "gate": [(1_000, 2.0)], "none": []}))
    kinds = [element.tag.rpartition("}")[2] for element in drawn.iter()]
    assert (kinds.count("polyline"), kinds.count("circle")) == (2, 3)
    texts = [element.text for element in drawn.iter() if element.tag.endswith("text")]
    assert {"land: slope 1.00", "gate"} <= set(texts)
    assert "none" not in texts
