"""The part of a report on utility: distances, correlations, tasks and groups, as numbers under the contract's names.

Groups of rows are counted and never named: a label is a category of the data.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from cloakhouse.contracts.model import Contract
from cloakhouse.stages import report_fields as take

Facts = Mapping[str, Any]
_CORRELATIONS = ("error", "holdout_error", "pearson_error", "holdout_pearson_error", "other_error")
_QUALITY = ("score", "column_shapes", "column_pair_trends")
_TASK = ("synthetic_auc", "training_auc", "loss", "loss_upper_bound")


def utility_part(contract: Contract, evidence: Facts) -> dict[str, Any] | None:
    """Return the part, JSON-ready; None for an answer to a query, whose noise is in its own figures."""
    synthesis = contract.synthesis
    if synthesis is None:
        return None
    found = take.mapping(evidence.get("utility"))
    columns = [column.name for column in contract.columns]
    tasks = {task.name: task.target for task in synthesis.tasks}
    quality = take.mapping(found.get("quality_report"))
    return {
        "marginals": [_marginal(item, columns) for item in _mappings(found.get("marginals"))],
        "correlations": _numbers(take.mapping(found.get("correlations")), _CORRELATIONS),
        "quality_report": {**_numbers(quality, _QUALITY), "libraries": take.libraries(quality.get("library"))},
        "tasks": [
            {"name": name, "target": target, **_numbers(_named(found.get("tasks"), name), _TASK)}
            for name, target in tasks.items()
        ],
        "segments": [_segment(item, columns) for item in _mappings(found.get("segments"))],
    }


def _marginal(item: Facts, columns: Collection[str]) -> dict[str, Any]:
    numbers = _numbers(item, ("mean", "worst", "holdout_mean", "holdout_at_worst"))
    return {
        "order": take.whole(item.get("order")),
        "tested": take.whole(item.get("tested")),
        **numbers,
        "worst_columns": take.names(item.get("worst_columns"), columns),
    }


def _segment(item: Facts, columns: Collection[str]) -> dict[str, Any]:
    return {
        "column": take.one_of(item.get("column"), columns),
        "groups": len(take.items(item.get("groups"))) + (take.whole(item.get("left_out")) or 0),
        "small_groups": take.whole(item.get("small_groups")),
        **_numbers(item, ("worst_tvd", "worst_excess")),
    }


def _named(found: Any, name: str) -> Facts:
    return next((item for item in _mappings(found) if item.get("name") == name), {})


def _mappings(found: Any) -> list[Facts]:
    return [take.mapping(item) for item in take.items(found)]


def _numbers(found: Facts, keys: tuple[str, ...]) -> dict[str, Any]:
    return {key: take.number(found.get(key)) for key in keys}
