"""The gate of a release: figures against thresholds. It fails closed: a figure that is missing fails, and bounds, not
point estimates, are compared."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from typing import Any

from cloakhouse.contracts.model import ColumnClass, Contract, Gate
from cloakhouse.errors import ContractError
from cloakhouse.privacy.attacks.battery import figure_names, threshold_of
from cloakhouse.privacy.attacks.population import AttackColumn, Risk
from cloakhouse.synthesis.derive import view_columns

RHO_OF_MODEL = "rho of all noise in the model"  # this and the next four: of a guarantee, see `guarantees`
LIKELIHOOD = "noise in the model, likelihood at the declared scale"
DEPARTURE = "tables that do not follow from the noise, difference"
FOREIGN = "rows that the model does not give"
RHO_COMMITTED = "rho committed in the privacy ledger"


@dataclass(frozen=True)
class Figure:
    """One figure of the gate: what was measured, the contract's threshold, and which way they compare."""

    name: str
    value: float | None
    threshold: float
    at_most: bool

    @property
    def passed(self) -> bool:
        """Whether the figure is there, a finite number, and meets the threshold."""
        if self.value is None or not math.isfinite(self.value):
            return False
        return self.value <= self.threshold if self.at_most else self.value >= self.threshold

    def as_dict(self) -> dict[str, Any]:
        """Return the fields and the outcome, JSON-ready: numbers that aren't finite are None."""
        return {
            **asdict(self),
            "value": _finite(self.value),
            "threshold": _finite(self.threshold),
            "passed": self.passed,
        }


def attack_columns(contract: Contract) -> tuple[AttackColumn, ...]:
    """Return the columns of a synthetic dataset as attacks see them: all but the engine's own numbers."""
    assert contract.synthesis is not None
    return tuple(
        AttackColumn(c.name, c.categorical, c.maximum, contract.column(c.name).column_class is ColumnClass.SENSITIVE)
        for c in view_columns(contract.synthesis, contract.columns)
        if c.number is None
    )


def risk_figures(gate: Gate, columns: Sequence[AttackColumn], risks: Sequence[Risk]) -> tuple[Figure, ...]:
    """Return a figure for every attack there has to be on `columns`: its upper bound, against the contract's threshold
    or the platform's. An attack without a result is a missing figure."""
    bounds = {risk.name: risk.bound if _finite(risk.value) is not None else None for risk in risks}
    return tuple(Figure(name, bounds.get(name), _threshold(gate, name), at_most=True) for name in figure_names(columns))


def _threshold(gate: Gate, name: str) -> float:
    own = threshold_of(name, gate.risks)
    limit = threshold_of(name) if own is None else own
    return -math.inf if limit is None else limit  # without a threshold nothing passes


def check_risks(name: str, gate: Gate, columns: Sequence[AttackColumn]) -> None:
    """Raise ContractError for a threshold of an attack that there isn't: a misspelt safeguard must not be ignored."""
    names = figure_names(columns)
    for risk in gate.risks:
        if not any(fnmatchcase(figure, risk) for figure in names):
            raise ContractError(
                where=f"contract {name}, gate, risks",
                expected="the name of a figure, or a pattern of names with *: " + "; ".join(names),
                found=f"`{risk}`",
                not_done="nothing was synthesized",
                remedy="correct the name, or remove it: the platform's threshold applies then",
                code="risk",
            )


def sentence(figure: Figure) -> str:
    """Return the figure in one line."""
    value = "missing" if _finite(figure.value) is None else f"{figure.value:.4g}"
    return f"{figure.name} {value} ({'<=' if figure.at_most else '>='} {figure.threshold:.4g})"


def _finite(number: float | None) -> float | None:
    return number if number is not None and math.isfinite(number) else None


def table(figures: Sequence[Figure]) -> list[Mapping[str, Any]]:
    """Return the figures as evidence holds them."""
    return [figure.as_dict() for figure in figures]
