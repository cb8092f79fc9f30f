"""What contracts don't declare is bought: caps on records of a unit, and the categories of a column."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from cloakhouse.contracts.model import Level, Privacy
from cloakhouse.errors import StageError
from cloakhouse.privacy import noise
from cloakhouse.synthesis.dp_marginals import spending
from cloakhouse.synthesis.dp_marginals.domains import Domain, declared, domain_of, numbers
from cloakhouse.synthesis.dp_marginals.records import Layer
from cloakhouse.synthesis.dp_marginals.spending import SAFE, Purse
from cloakhouse.synthesis.dp_marginals.survey import MOST_CATEGORIES, OF_GROUP, Survey, caps, categories, sizes
from cloakhouse.synthesis.protocol import Plan, Shards

CAP_QUANTILE = 0.9
Known = Mapping[str, list[object]]


@dataclass(frozen=True)
class Bought:
    """Caps by level and for `rows of a group`, and the learnt values of columns, in order."""

    caps: Mapping[str, int]
    categories: Known


def learnt_columns(plan: Plan) -> tuple[tuple[str, Level], ...]:
    """Return the columns whose categories have to be learnt, with their levels."""
    return tuple((c.name, c.level) for c in plan.columns if not c.number and domain_of(c) is None)


def delta_of_categories(plan: Plan, privacy: Privacy) -> float:
    """Return the part of delta that is set aside for learnt categories: 0 where none are."""
    return privacy.delta * spending.DELTA_OF_CATEGORIES if learnt_columns(plan) else 0.0


def caps_of(privacy: Privacy, layers: tuple[Layer, ...]) -> dict[str, int | None]:
    """Return every cap that a plan needs, by name: as declared, or None where it has to be bought."""
    declared_ = {Level.UNIT: 1, Level.ROW: privacy.max_rows, Level.GROUP: privacy.max_groups}
    wanted: dict[str, int | None] = {str(layer.level): declared_[layer.level] for layer in layers}
    if any(layer.level is Level.GROUP for layer in layers):
        wanted[OF_GROUP] = None
    return wanted


def bought(plan: Plan, privacy: Privacy, layers: tuple[Layer, ...], shards: Shards, purse: Purse) -> Bought:
    """Return what `plan` doesn't declare: one pass over `shards`, or none if all is declared."""
    wanted, learnt = caps_of(privacy, layers), learnt_columns(plan)
    if not learnt and None not in wanted.values():
        return Bought({name: int(cap or 0) for name, cap in wanted.items()}, {})
    answers = list(shards.map(Survey(layers, learnt)))
    counted = sizes(answers)
    found = {name: cap or _cap(name, counted.get(name), purse) for name, cap in wanted.items()}
    delta = delta_of_categories(plan, privacy) * SAFE / max(len(learnt), 1)
    rho = purse.rho * spending.CATEGORIES * SAFE / max(len(learnt), 1)
    return Bought(found, {n: _categories(n, *categories(answers, n), purse, rho, delta) for n, _ in learnt})


def domains(plan: Plan, layers: tuple[Layer, ...], found: Bought) -> dict[str, Domain]:
    """Return the cells of every column, numbers of children among them. Raises StageError for one without any value."""
    result: dict[str, Domain] = {}
    for column in plan.columns:
        if column.number:
            continue
        domain = domain_of(column) or declared(column, found.categories[column.name], "learnt")
        if domain.size == 1 and not domain.nullable:
            raise _none_common(column.name)
        result[column.name] = domain
    for at, layer in enumerate(layers):
        if layer.children:
            most = found.caps[OF_GROUP if layer.level is Level.GROUP else str(layers[at + 1].level)]
            result[layer.children] = numbers(layer.children, "int64", float(most), nullable=False)
    return result


def _cap(name: str, units: np.ndarray | None, purse: Purse) -> int:
    candidates = caps().astype(np.float64)
    values = np.repeat(candidates, units if units is not None else 0)
    # Of 5 and 5,000 rows the ranks are nearly equal, and the noise of all that follows grows with the cap.
    rho = purse.spend(f"cap of {name}", "exponential mechanism, quantile", purse.rho * spending.CAPS)
    return int(noise.quantile(values, candidates, CAP_QUANTILE, rho, weights=1 / candidates))


def _categories(name: str, values: pa.Array, units: np.ndarray, purse: Purse, rho: float, delta: float) -> list[object]:
    """Return the values of a column that enough units hold, in order."""
    purse.spend(f"categories of {name}", "Gaussian threshold", rho, delta)
    mask, _ = noise.common_keys(units, MOST_CATEGORIES, rho, delta)
    return sorted(values.filter(pa.array(mask)).to_pylist())


def _none_common(name: str) -> StageError:
    return StageError(
        where=f"column `{name}`",
        expected="a category that enough units of privacy hold",
        found="none that may be told under the guarantee",
        not_done="nothing was fitted; the budget for this question is spent",
        remedy="declare the column's `values` in the contract, or leave the column out of the view",
        code="categories",
    )
