"""A column as the tokenization key file holds it: JSON members, from the contract and back, checked both ways.

| member | what |
| --- | --- |
| `name`, `type`, `class` | name, ODCS logical type and class, as the contract has them |
| `required` | true or false |
| `minimum`, `maximum` | a number; of dates and timestamps ISO 8601 text; null for unbounded |
| `pattern`, `maxLength` | as the contract has them, or null |
| `treatment` | its name |
| `parameters` | as the contract has them; dates as ISO 8601 text; a hierarchy with its `labels` |

References to other datasets aren't in it: nobody can look them up at the edge.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from typing import Any

from cloakhouse.contracts.columns import LOGICAL_TYPES, NAME
from cloakhouse.contracts.model import Column, ColumnClass, Treatment
from cloakhouse.contracts.treatment_faults import fault_in

EDGE_TREATMENTS = (
    "token",
    "reversible token",
    "format-preserving token",
    "substitute",
    "bucket",
    "mask",
    "generalize",
    "round",
    "scrub",
)
"""Treatments that need a value and its key only, neither other rows nor other columns."""
REVERSIBLE = ("reversible token", "format-preserving token")


def column_out(column: Column) -> dict[str, Any]:
    """Return the JSON members of `column`."""
    return {
        "name": column.name,
        "type": column.logical_type,
        "class": column.column_class.value,
        "required": column.required,
        "minimum": _out(column.minimum),
        "maximum": _out(column.maximum),
        "pattern": column.pattern,
        "maxLength": column.max_length,
        "treatment": column.treatment.name,
        "parameters": _out(dict(column.treatment.parameters)),
    }


def column_from(members: Mapping[str, Any]) -> Column:
    """Return the column that `column_out` wrote. Raises ValueError, KeyError or TypeError for anything else."""
    kind, name = members["type"], members["treatment"]
    parameters = _parameters(members["parameters"], kind)
    plain = {key: _without_labels(value) if key == "hierarchy" else value for key, value in parameters.items()}
    sound = (
        kind in LOGICAL_TYPES
        and NAME.fullmatch(members["name"])
        and type(members["required"]) is bool
        and name in EDGE_TREATMENTS
        and fault_in(name, plain, kind) is None
    )
    if not sound:
        raise ValueError
    return Column(
        name=members["name"],
        logical_type=kind,
        required=members["required"],
        column_class=ColumnClass(members["class"]),
        treatment=Treatment(name, parameters),
        minimum=_bound(members["minimum"], kind),
        maximum=_bound(members["maximum"], kind),
        pattern=_given(members["pattern"], str),
        max_length=_given(members["maxLength"], int),
    )


def _out(value: Any) -> Any:
    if isinstance(value, dt.date):  # a datetime is one, too
        return value.isoformat()
    return {key: _out(item) for key, item in value.items()} if isinstance(value, dict) else value


def _parameters(written: Mapping[str, Any], kind: str) -> dict[str, Any]:
    parameters = dict(written)
    if "on" in parameters:
        parameters["on"] = dt.date.fromisoformat(parameters["on"])
    if "clamp" in parameters and kind == "date":
        parameters["clamp"] = {end: dt.date.fromisoformat(text) for end, text in parameters["clamp"].items()}
    return parameters


def _without_labels(hierarchy: Mapping[str, Any]) -> dict[str, Any]:
    labels = hierarchy["labels"]
    if not isinstance(labels, dict) or not all(isinstance(label, str) for label in labels.values()):
        raise TypeError
    return {key: value for key, value in hierarchy.items() if key != "labels"}


def _bound(written: Any, kind: str) -> Any:
    if written is None:
        return None
    if kind == "date":
        return dt.date.fromisoformat(written)
    if kind == "timestamp":
        read: Callable[[str], dt.date] = dt.datetime.fromisoformat if "T" in written else dt.date.fromisoformat
        return read(written)
    if type(written) not in (int, float) or kind not in ("integer", "number"):
        raise TypeError
    return written


def _given(written: Any, kind: type) -> Any:
    if written is not None and type(written) is not kind:
        raise TypeError
    return written
