"""Whether a model spent what it says: its account added up again, and its noise measured against the training rows.

An engine that ignores its epsilon publishes sums with too little noise. Whoever has the training rows can tell: the
exact clipped sums, subtracted from the noisy ones, must look like discrete Gaussian noise of the declared scale.
Their squares over scale^2 add up to chi-square with a degree of freedom each (a discrete Gaussian of a large scale
differs from a continuous one by less than can be seen). The result is not covered by the guarantee: it stays with the
validator.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from cloakhouse.contracts.model import Level
from cloakhouse.errors import IntegrityError
from cloakhouse.privacy.accounting import rho_of
from cloakhouse.privacy.noise import rho_of_gaussian
from cloakhouse.synthesis.dp_marginals.arrays import Arrays, pack
from cloakhouse.synthesis.dp_marginals.bought import caps_of, learnt_columns
from cloakhouse.synthesis.dp_marginals.bounding import ONE, clipped_sums, norms, row_weights
from cloakhouse.synthesis.dp_marginals.counting import Binned, Marginal, added, scored
from cloakhouse.synthesis.dp_marginals.domains import Domain
from cloakhouse.synthesis.dp_marginals.model import MarginalsModel
from cloakhouse.synthesis.dp_marginals.records import Layer, Records, encoded, layers_of
from cloakhouse.synthesis.dp_marginals.release import GAUSSIAN, Measurement
from cloakhouse.synthesis.protocol import Shards

CLOSE = 1e-9  # another release of OpenDP may round in another way
LIKELY = 1e-6  # two-sided: an honest model fails so rarely


@dataclass(frozen=True)
class NoiseCheck:
    """How the noise of a model compares with what it declares.

    Attributes:
        cells: noisy numbers that were compared.
        ratio: mean of (noise / scale)^2: 1 for honest noise, near 0 without any.
        likelihood: two-sided probability of such a ratio, of the whole or the worst measurement (with Bonferroni).
        passed: whether it is as likely as `LIKELY`.
    """

    cells: int
    ratio: float
    likelihood: float
    passed: bool


@dataclass(frozen=True)
class Recount:
    """One pass: the exact clipped sums of `measurements`, as `sum/<i>` in steps of 2^-20 rows."""

    layers: tuple[Layer, ...]
    domains: Mapping[str, Domain]
    binned: Mapping[Level, Binned]
    measurements: tuple[Measurement, ...]

    def __call__(self, table: pa.Table) -> bytes:
        found = {str(level): (level, records) for level, records in encoded(table, self.layers, self.domains).items()}
        answer: Arrays = {}
        for i, measurement in enumerate(self.measurements):
            level, records = found[measurement.level]
            answer[f"sum/{i}"] = self._sum(measurement, self.binned[level], records)
        return pack(answer)

    def _sum(self, m: Measurement, binned: Binned, records: Records) -> np.ndarray:
        if not m.columns:
            counts = np.bincount(records.unit, minlength=records.units)
            if m.kind == "weight":
                total = int(row_weights(records.unit, records.units, scored(binned.cap)).sum())
            else:
                total = ONE * int((counts > 0).sum() if m.kind == "units" else np.minimum(counts, binned.cap).sum())
            return np.array([total])
        if m.kind == "cells":
            code, cells = records.codes[m.columns[0]], self.domains[m.columns[0]].size
        else:
            marginal = Marginal(m.columns, m.thinned)
            code, cells = binned.code(marginal, records), int(np.prod(binned.shape(marginal)))
        candidates = np.array([m.clip])
        return clipped_sums(records.unit, records.units, code, cells, candidates).clipped(candidates, 0)


def accounted(model: MarginalsModel) -> float:
    """Return the rho that `model` spent, every Gaussian of it computed again by OpenDP from its clip norm and scale.

    The log has to have each of them with that rho, and every choice that the plan and the model's structure imply
    (`choices`), with a rho above 0: how much a choice spent can't be seen from its outcome and is taken from the log.
    Raises IntegrityError if the log and the model contradict each other, or more was spent than the guarantee allows.
    """
    measurements, entries = model.fitted.measurements, model.fitted.entries
    gaussians = [rho_of_gaussian(float(m.clip * ONE), m.scale) for m in measurements]
    logged = [entry for entry in entries if entry.mechanism == GAUSSIAN]
    others = [entry for entry in entries if entry.mechanism != GAUSSIAN]
    if [entry.what for entry in logged] != [m.name for m in measurements]:
        raise _mismatch("as many logged as released measurements", f"{len(logged)} and {len(measurements)}, or others")
    if not all(math.isclose(e.rho, rho, rel_tol=CLOSE) for e, rho in zip(logged, gaussians, strict=True)):
        raise _mismatch("every measurement logged with its rho", "other numbers")
    if any(not 0 < e.rho < math.inf or not 0 <= e.delta < 1 for e in others):
        raise _mismatch("a rho above 0 for every choice", "other numbers")
    absent = choices(model) - Counter(entry.what for entry in others)
    if absent:
        raise _mismatch("every choice of the model logged", f"{absent.total()} missing")
    untrue = [m for m in measurements if not m.columns and m.clip != _most(m, model.fitted.caps)]
    if untrue:
        raise _mismatch("totals with what a unit adds at most", f"{len(untrue)} with another bound")
    rho = math.fsum([*gaussians, *(entry.rho for entry in others)])
    delta = math.fsum(entry.delta for entry in others)
    allowed = rho_of(model.guarantee.epsilon, model.guarantee.delta - delta)
    if rho > allowed:
        raise _mismatch(f"rho {allowed:.6g} at most", f"{rho:.6g}")
    return rho


def choices(model: MarginalsModel) -> Counter[str]:
    """Return what has to be in the log beside measurements: caps, categories, clip norms, and rounds of choosing."""
    found: Counter[str] = Counter()
    plan, fitted = model.plan, model.fitted
    if plan.privacy is not None:
        bought = [name for name, cap in caps_of(plan.privacy, layers_of(plan)).items() if cap is None]
        found.update(f"cap of {name}" for name in bought)
    found.update(f"categories of {name}" for name, _ in learnt_columns(plan))
    for m in fitted.measurements:
        if m.columns and len(norms(fitted.caps[m.level])) > 1:
            found[f"clip norm of {m.name} in {m.kind}"] += 1
    for layered in fitted.layers:
        layer = layered.binned.layer
        edges, most = sum(len(node.parents) > 0 for node in layered.nodes), len(layer.own) - (not layer.given)
        found[f"{layer.level}: choice of a pair"] += max(min(edges + 1, most), 0)  # the last round may be to stop
        found[f"{layer.level}: choice of a clique"] += sum(len(node.parents) > 1 for node in layered.nodes)
    return found


def _most(total: Measurement, caps: Mapping[str, int]) -> int:
    """Return what one unit adds to a total at most (rows)."""
    return {"units": 1, "records": caps[total.level], "weight": scored(caps[total.level])}[total.kind]


def residuals(model: MarginalsModel, shards: Shards) -> NoiseCheck:
    """Return how the noise in `model` compares with what it declares, recounted on its training rows. One pass."""
    layers = tuple(layered.binned.layer for layered in model.fitted.layers)
    binned = {layered.binned.layer.level: layered.binned for layered in model.fitted.layers}
    task = Recount(layers, model.fitted.domains, binned, model.fitted.measurements)
    exact = added(shards.map(task))
    squares, sizes = [], []
    for i, m in enumerate(model.fitted.measurements):
        noise = (m.noisy - exact[f"sum/{i}"].ravel()) / m.scale
        squares.append(float((noise**2).sum()))
        sizes.append(len(noise))
    worst = min(_likelihood(s, n) for s, n in zip(squares, sizes, strict=True)) * len(sizes)
    likelihood = min(_likelihood(sum(squares), sum(sizes)) * 2, worst * 2, 1.0)
    return NoiseCheck(sum(sizes), sum(squares) / sum(sizes), likelihood, likelihood >= LIKELY)


def _likelihood(squares: float, cells: int) -> float:
    """Return the two-sided probability of a chi-square of `cells` degrees of freedom as far out as `squares`."""
    from scipy.stats import chi2  # type: ignore[import-untyped]

    return float(2 * min(chi2.cdf(squares, cells), chi2.sf(squares, cells)))


def _mismatch(expected: str, found: str) -> IntegrityError:
    return IntegrityError(
        where="the account of a dp-marginals model",
        expected=expected,
        found=found,
        not_done="the model was not accepted",
        remedy="fit the model again with the platform's engine",
    )
