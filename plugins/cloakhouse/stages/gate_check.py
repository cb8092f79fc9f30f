"""The gate computed again from evidence alone: figures from what was measured, thresholds from the contract.

A pure function: no file, no database and no key, so that an auditor computes it on a machine of his own. What can be
computed from the evidence is; of the guarantee's figures, which were found out from the model and the training rows,
the values are taken as stated, their thresholds are not:

1. the suite: it passed if each of its expectations did, and there is one;
2. copies, k-anonymity and hold-out against the contract; a bound for every attack there has to be on its columns;
3. under a guarantee, the promised rho must imply the contract's epsilon and delta, by the formula of zCDP itself
   (Canonne, Kamath & Steinke 2020, arXiv 2004.00010, section 2.3), not by the library that stated it;
4. the verdict is yes if the suite and every figure passed; each figure, and the verdict, is compared with what the
   evidence states.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cloakhouse.contracts.model import Contract, Privacy
from cloakhouse.privacy.attacks.population import Risk
from cloakhouse.stages.gate import (
    DEPARTURE,
    FOREIGN,
    LIKELIHOOD,
    RHO_COMMITTED,
    RHO_OF_MODEL,
    Figure,
    attack_columns,
    risk_figures,
)
from cloakhouse.stages.remaking import CLOSE
from cloakhouse.stages.report_fields import flag, items, mapping, number
from cloakhouse.synthesis.dp_marginals.recount import LIKELY

Facts = Mapping[str, Any]
RELATIVE_ERROR = "expected relative error"
_FIXED = (  # figures of a guarantee whose thresholds are the platform's (`cloakhouse.stages.guarantees`)
    (LIKELIHOOD, LIKELY, False),
    (DEPARTURE, CLOSE, True),
    (FOREIGN, 0.0, True),
)
_ROUNDING = 1e-9  # relative, between OpenDP's arithmetic and this one's


@dataclass(frozen=True)
class Recomputed:
    """What the evidence comes to.

    Attributes:
        figures: of the gate, in the evidence's order.
        checks, checks_passed: expectations of the suite, and how many held.
        stated: the evidence's own verdict.
        differences: names of figures (`verdict` for the verdict) that the evidence states otherwise.
    """

    figures: tuple[Figure, ...]
    checks: int
    checks_passed: int
    stated: bool
    differences: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """The verdict: whether there are checks and figures, and all of them passed."""
        return 0 < self.checks == self.checks_passed and bool(self.figures) and all(f.passed for f in self.figures)

    @property
    def agrees(self) -> bool:
        """Whether the evidence states the same."""
        return not self.differences


def recomputed(contract: Contract, evidence: Facts, synthesis: Facts) -> Recomputed:
    """Return the gate of `evidence` under `contract`; `synthesis` is the manifest of the rows it is about, empty for
    an answer to a query. What is missing or of another type is a figure without a value, which doesn't pass."""
    expectations = items(mapping(evidence.get("quality")).get("expectations"))
    held = sum(flag(mapping(item).get("success")) for item in expectations)
    figures = _figures(contract, evidence, synthesis)
    found = Recomputed(figures, len(expectations), held, flag(evidence.get("passed")), ())
    stated = {str(mapping(item).get("name")): item for item in items(evidence.get("gate"))}
    differing = [figure.name for figure in figures if stated.get(figure.name) != figure.as_dict()]
    if len(items(evidence.get("gate"))) != len(figures):
        differing.append("number of figures")
    if found.stated != found.passed:
        differing.append("verdict")
    return Recomputed(figures, found.checks, held, found.stated, tuple(differing))


def implies(rho: float, epsilon: float, delta: float) -> bool:
    """Return whether `rho` of zCDP implies (`epsilon`, `delta`).

    delta(epsilon) = min over a > 1 of exp((a - 1)(a rho - epsilon)) / (a - 1) * (1 - 1/a)^a, whose logarithm is convex
    enough for a ternary search. Source: Canonne, Kamath & Steinke 2020, section 2.3.
    """
    if not rho > 0 or not epsilon > 0 or not 0 < delta < 1:
        return False
    low, high = math.log(1e-6), math.log(1e9)  # of a - 1
    for _ in range(200):
        third = (high - low) / 3
        if _log_delta(low + third, rho, epsilon) < _log_delta(high - third, rho, epsilon):
            high -= third
        else:
            low += third
    return _log_delta((low + high) / 2, rho, epsilon) <= math.log(delta) + _ROUNDING


def _log_delta(place: float, rho: float, epsilon: float) -> float:
    above = math.exp(place)  # a - 1
    order = 1 + above
    return above * (order * rho - epsilon) - place + order * math.log1p(-1 / order)


def _figures(contract: Contract, evidence: Facts, synthesis: Facts) -> tuple[Figure, ...]:
    if contract.query is not None:
        value = _stated(evidence, RELATIVE_ERROR, "value")
        return (Figure(RELATIVE_ERROR, value, contract.query.max_relative_error, at_most=True),)
    gate = contract.gate
    if gate is None or contract.synthesis is None:
        return ()
    copies = number(mapping(evidence.get("copies")).get("upper_bound"))
    k = number(mapping(evidence.get("anonymity")).get("k"))
    units = number(mapping(synthesis.get("holdout")).get("units"))
    own = (
        Figure("excess of exact copies, upper 95 % bound", copies, gate.max_copy_excess, at_most=True),
        Figure(f"k-anonymity of {gate.k_dataset}", _float(k), float(gate.min_k), at_most=False),
        Figure("hold-out units", _float(units), float(gate.min_holdout_units), at_most=False),
    )
    risks = [_risk(item) for item in items(evidence.get("risks"))]
    return (
        *own,
        *risk_figures(gate, attack_columns(contract), risks),
        *_of_guarantee(contract.synthesis.privacy, evidence),
    )


def _risk(found: Any) -> Risk:
    item = mapping(found)
    value, bound = number(item.get("value")), number(item.get("bound"))
    return Risk(str(item.get("name")), value, bound, 0, 0, "")


def _of_guarantee(privacy: Privacy | None, evidence: Facts) -> tuple[Figure, ...]:
    if privacy is None:
        return ()
    promised = _stated(evidence, RHO_OF_MODEL, "threshold")
    if promised is None or not implies(promised, privacy.epsilon, privacy.delta):
        promised = math.nan  # nothing compares with it: both figures fail
    return (
        Figure(RHO_OF_MODEL, _stated(evidence, RHO_OF_MODEL, "value"), promised, at_most=True),
        *(Figure(name, _stated(evidence, name, "value"), limit, at_most=most) for name, limit, most in _FIXED),
        Figure(RHO_COMMITTED, _stated(evidence, RHO_COMMITTED, "value"), promised, at_most=False),
    )


def _stated(evidence: Facts, name: str, key: str) -> float | None:
    found = [item for item in map(mapping, items(evidence.get("gate"))) if item.get("name") == name]
    return _float(number(found[0].get(key))) if len(found) == 1 else None


def _float(value: float | int | None) -> float | None:
    return None if value is None else float(value)
