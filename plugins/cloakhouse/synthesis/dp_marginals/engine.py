"""The engine `dp-marginals`: see `cloakhouse.synthesis.protocol.Engine`.

The guarantee is (epsilon, delta) per unit of privacy, where neighbours differ by one unit with all of its rows. What is
released is a list of sums of bounded contributions with noise (`release`) and of privately made choices (`selection`,
caps, clip norms, learnt categories); all else is computed from them. Method: a decomposable model of noisy marginals,
after McKenna, Miklau & Sheldon 2021 (MST, arXiv 2108.04978) and AIM (arXiv 2201.12677), with whole units clipped in L2.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from cloakhouse.contracts.model import Level, Privacy
from cloakhouse.errors import ContractError
from cloakhouse.privacy.accounting import guarantee
from cloakhouse.synthesis.dp_marginals.bins import BINS
from cloakhouse.synthesis.dp_marginals.bounding import MOST
from cloakhouse.synthesis.dp_marginals.domains import LOOKUP
from cloakhouse.synthesis.dp_marginals.model import MarginalsModel, open_model
from cloakhouse.synthesis.dp_marginals.passes import budget, fitted
from cloakhouse.synthesis.protocol import Plan, Report, Shards, ViewColumn

MOST_VALUES = 4096  # declared values of one column: each has noise of its own
__all__ = ["check", "check_parameters", "cost", "fit", "open_model"]


def check_parameters(parameters: Mapping[str, Any]) -> None:
    """Raise ContractError unless `parameters` are those of this engine: `bins`, 2 to 64 (16 without)."""
    unknown = sorted(set(parameters) - {"bins"})
    if unknown:
        raise _refused("parameters", "`bins` only", f"{len(unknown)} others", f"remove {', '.join(unknown)}")
    bins = parameters.get("bins", BINS)
    if isinstance(bins, bool) or not isinstance(bins, (int, float)) or bins != bins // 1 or not 2 <= bins <= 64:
        raise _refused(
            "parameter `bins`", "a whole number from 2 to 64", type(bins).__name__, "leave it out: 16 is good"
        )


def check(plan: Plan) -> None:
    """Raise ContractError for a plan without a guarantee, or with a column that has no public domain."""
    check_parameters(plan.parameters)
    if plan.privacy is None:
        remedy = "add `privacy` with epsilon and delta to the contract's synthesis, or choose an engine without"
        raise _refused("privacy", "epsilon and delta", "none", remedy)
    guarantee(plan.privacy.epsilon, plan.privacy.delta, plan.unit_of_privacy)
    for name, cap in (("maxRows", plan.privacy.max_rows), ("maxGroups", plan.privacy.max_groups)):
        if cap is not None and not 1 <= cap <= MOST:
            raise _refused(f"`{name}` of privacy", f"1 to {MOST:,}", f"{cap}", "leave it out: it is then bought")
    if not any(not column.number for column in plan.columns):
        raise _refused("columns", "one with values at least", "none", "add measures to the view")
    levels = {column.level for column in plan.columns}
    if Level.GROUP in levels and Level.UNIT not in levels:
        remedy = "add a number of the unit, or any column of it, to the view"
        raise _refused("columns", "a column of the unit above those of groups", "none", remedy)
    for column in plan.columns:
        _check_column(column)


def fit(plan: Plan, shards: Shards, report: Report) -> MarginalsModel:
    """Return the model fitted on `shards` in four passes at most. Raises ContractError as `check`, and StageError."""
    privacy = _privacy(plan)
    promised = guarantee(privacy.epsilon, privacy.delta, plan.unit_of_privacy)
    return MarginalsModel(plan, promised, fitted(plan, privacy, shards, report))


def cost(plan: Plan) -> tuple[float, float]:
    """Return what a fit spends at most: rho of zCDP, and a delta of its own where categories are learnt (else 0).

    A ledger that adds up releases has to be charged with both. Together they imply the plan's epsilon and delta. Raises
    ContractError as `check`.
    """
    return budget(plan, _privacy(plan))


def _privacy(plan: Plan) -> Privacy:
    check(plan)
    if plan.privacy is None:  # pragma: no cover - checked
        raise AssertionError
    return plan.privacy


def _check_column(column: ViewColumn) -> None:
    """Raise ContractError unless `column` has a public domain, or one that can be learnt."""
    where = f"column `{column.name}`"
    if column.number:
        if column.number not in ("unit", "group") or column.level.value != column.number:
            raise _refused(where, "the number of a unit or a group, at that level", column.number, "correct the level")
        return
    if column.name.startswith(("#", "__")):
        raise _refused(where, "a name that begins with a letter", "one of the engine's own", "rename the column")
    if (column.values is not None or column.categorical) and not _storable(column.type):
        remedy = "publish it as text, a whole number, or a part of the date (month, weekday, hour)"
        raise _refused(where, "text, numbers or truth values", f"{column.type}", remedy)
    if column.values is not None:
        if not 1 <= len(column.values) <= MOST_VALUES:
            remedy = "group the values into fewer, or don't declare them: common ones are then learnt"
            raise _refused(where, f"1 to {MOST_VALUES:,} declared values", f"{len(column.values):,}", remedy)
        _check_values(column)
        return
    if column.categorical or pa.types.is_boolean(column.type):
        return
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        raise _refused(where, "a number, or declared values", f"{column.type}", "declare its `values`")
    if column.maximum is None or not math.isfinite(column.maximum) or not 0 < column.maximum <= LOOKUP * 1000:
        remedy = "give the measure a `cap` above 0, or declare its `values`: the data's own maximum can't be used"
        raise _refused(where, "a public maximum", "none" if column.maximum is None else "no such number", remedy)


def _storable(kind: pa.DataType) -> bool:
    """Return whether values of `kind` are told as JSON and read again by the type's name."""
    text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    number = pa.types.is_integer(kind) or pa.types.is_float32(kind) or pa.types.is_float64(kind)
    return bool(text or number or pa.types.is_boolean(kind))


def _check_values(column: ViewColumn) -> None:
    try:
        pa.array(column.values, column.type)
    except (pa.ArrowException, TypeError, ValueError):
        remedy = "declare values of the column's type"
        raise _refused(f"column `{column.name}`", f"values of type {column.type}", "others", remedy) from None


def _refused(where: str, expected: str, found: str, remedy: str) -> ContractError:
    return ContractError(
        where=f"{where}, synthesized by dp-marginals",
        expected=expected,
        found=found,
        not_done="nothing was counted, fitted or sampled",
        remedy=remedy,
        code="synthesis",
    )
