"""An empirical lower bound on epsilon: the mechanism is run often on neighbouring datasets, and told apart.

The statistic is the most telling one there is for Gaussian noise, the likelihood ratio of both datasets over everything
that one fit measures. Its rates of true and false positives give a lower bound on epsilon (Jagielski et al. 2020, arXiv
2006.07709), with Clopper-Pearson bounds. It has to stay below the claim, and be well above 0, or the audit would prove
nothing; with an eighth of the noise it has to exceed the claim.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from scipy.stats import beta
from tests.support.marginals import COLUMNS, baskets, plan, silent, tokens
from tests.support.shards import LocalShards

from cloakhouse.privacy import noise
from cloakhouse.privacy.accounting import rho_of
from cloakhouse.synthesis.dp_marginals import engine, recount
from cloakhouse.synthesis.dp_marginals.arrays import unpack
from cloakhouse.synthesis.dp_marginals.model import MarginalsModel
from cloakhouse.synthesis.dp_marginals.release import GAUSSIAN

RUNS, EPSILON, DELTA = 3000, 3.0, 1e-6
SURE = 1e-7  # of each Clopper-Pearson bound
Draw = Callable[[npt.NDArray[np.int64], float], npt.NDArray[np.int64]]
TWO = (COLUMNS[0], COLUMNS[3])


def neighbour() -> pa.Table:
    """Return the other dataset's household: a hundred baskets, all alike."""
    return pa.table({"weekday": [3] * 100, "meat": [True] * 100, "__unit": tokens([10**6] * 100)})


@pytest.fixture(scope="module")
def released() -> tuple[MarginalsModel, list[npt.NDArray[np.int64]], list[npt.NDArray[np.int64]]]:
    """One fit, and the exact sums behind its measurements for both datasets."""
    without = baskets(60, 5).select(["weekday", "meat", "__unit"])
    model = engine.fit(plan(TWO, epsilon=EPSILON, max_rows=20), LocalShards((without,)), silent)
    layers = tuple(layered.binned.layer for layered in model.fitted.layers)
    binned = {layered.binned.layer.level: layered.binned for layered in model.fitted.layers}
    task = recount.Recount(layers, model.fitted.domains, binned, model.fitted.measurements)
    sums = []
    for table in (without, pa.concat_tables([without, neighbour()])):
        found = unpack(task(table))[0]
        sums.append([found[f"sum/{i}"].ravel() for i in range(len(model.fitted.measurements))])
    return model, sums[0], sums[1]


def lower_bound(negative: npt.NDArray[np.float64], positive: npt.NDArray[np.float64]) -> float:
    """Return the epsilon that the scores of both datasets prove, at thresholds fixed before (in scores' spread)."""
    best = 0.0
    for threshold in np.linspace(0.0, 1.0, 5) * 2.0 + 0.5:
        false, true = int((negative > threshold).sum()), int((positive > threshold).sum())
        most = float(beta.ppf(1 - SURE, false + 1, RUNS - false)) if false < RUNS else 1.0
        least = float(beta.ppf(SURE, true, RUNS - true + 1)) if true else 0.0
        best = max(best, float(np.log(max(least - DELTA, 1e-300) / most)))
    return best


def audited(
    released: tuple[MarginalsModel, list[npt.NDArray[np.int64]], list[npt.NDArray[np.int64]]], draw: Draw
) -> float:
    """Return the bound for the whole fit's measurements with noise by `draw`."""
    model, without, with_ = released
    scores = np.zeros((2, RUNS))
    spread = 0.0
    for m, low, high in zip(model.fitted.measurements, without, with_, strict=True):
        step = (high - low).astype(np.float64) / m.scale
        used = np.flatnonzero(step)  # cells that say nothing are left out
        spread += float((step**2).sum())
        for side, exact in enumerate((low, high)):
            noisy = draw(np.tile(exact[used], RUNS), m.scale).reshape(RUNS, len(used))
            scores[side] += ((noisy - low[used]) / m.scale) @ step[used]
    return lower_bound(*(scores / np.sqrt(spread)))


def test_sums_of_neighbours_differ_by_the_clip_norm_at_most(released: object) -> None:
    model, without, with_ = released  # type: ignore[misc]
    for m, low, high in zip(model.fitted.measurements, without, with_, strict=True):
        assert 0 < int(((high - low).astype(object) ** 2).sum()) <= (m.clip * 2**20) ** 2


def test_an_extreme_neighbour_uses_up_what_sums_are_charged_and_no_more(released: object) -> None:
    model, without, with_ = released  # type: ignore[misc]
    used = [
        float((((high - low) / m.scale) ** 2).sum()) / 2
        for m, low, high in zip(model.fitted.measurements, without, with_, strict=True)
    ]
    assert all(rho <= m.rho * (1 + 1e-9) for rho, m in zip(used, model.fitted.measurements, strict=True))
    choices = sum(entry.rho for entry in model.fitted.entries if entry.mechanism != GAUSSIAN)
    assert 0.99 * (rho_of(EPSILON, DELTA) - choices) < sum(used)
    assert sum(used) + choices <= rho_of(EPSILON, DELTA)


def test_the_bound_stays_below_the_claim_and_has_power(released: object) -> None:
    found = audited(released, noise.gaussian)  # type: ignore[arg-type]
    assert 0.2 < found < EPSILON


def test_an_under_noised_copy_exceeds_the_claim(released: object) -> None:
    assert audited(released, lambda values, scale: noise.gaussian(values, scale / 8)) > EPSILON  # type: ignore[arg-type]
