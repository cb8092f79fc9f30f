"""Contracts of synthetic datasets for tests, varied from `baskets_private`, each with a small suite beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import yaml
from tests.support.house import PRIVATE, House

from cloakhouse.contracts.model import Contract

BASKETS = {
    "hour": ("integer", {"hour": "transaction_timestamp"}),
    "lines": ("integer", {"count": "product_id", "cap": 100}),
    "value": ("number", {"sum": "sales_value", "cap": 500}),
    "has_meat": ("boolean", {"any": "department", "equals": "MEAT"}),
}
OF_HOUSEHOLDS = {
    "household": ("integer", {"number": "unit"}),
    "size": (
        "string",
        {"first": "household_size", "level": "unit", "values": ["1", "2", "3", "4", "5+"]},
    ),
}
OF_BASKETS = {
    "basket": ("integer", {"number": "group"}),
    "weekday": ("integer", {"weekday": "transaction_timestamp", "level": "group"}),
    "hour": ("integer", {"hour": "transaction_timestamp", "level": "group"}),
}
OF_LINES = {
    "quantity": ("integer", {"sum": "quantity", "cap": 20}),
    "value": ("number", {"sum": "sales_value", "cap": 50}),
    "is_meat": ("boolean", {"any": "department", "equals": "MEAT"}),
}
PRODUCTS = {"products": {"on": "product_id", "columns": ["department"]}}
PEOPLE = {"customers": {"on": "household_id", "columns": ["household_size"]}}
NULLABLE = ("size",)


def add_synthetic(
    house: House,
    name: str,
    columns: Mapping[str, tuple[str, dict[str, Any]]],
    *,
    lookups: Mapping[str, Any] = PRODUCTS,
    view: Mapping[str, Any] | None = None,
    gate: Mapping[str, Any] | None = None,
    **synthesis: Any,
) -> Contract:
    """Write the contract `name` of a synthetic dataset with `columns` and a suite for it into `house`; return it.

    `view`, `gate` and `synthesis` are put over those of `baskets_private`; what is None is left out.
    """
    text = (house.settings.contracts / f"{PRIVATE}.odcs.yaml").read_text()
    body = yaml.safe_load(text)
    body |= {"id": f"urn:cloakhouse:contract:{name}", "name": name}
    properties = {entry["property"]: entry["value"] for entry in body["customProperties"]}
    own = properties["synthesis"]
    own.pop("tasks"), own.pop("segments")
    own["view"] |= {"lookups": dict(lookups), "columns": {key: measure for key, (_, measure) in columns.items()}}
    own["view"] |= dict(view or {})
    properties["gate"] |= dict(gate or {})
    own |= synthesis
    for table in (own, own["view"], properties["gate"]):
        for key in [key for key, value in table.items() if value is None]:
            del table[key]
    body["schema"] = [{"name": name, "logicalType": "object", "properties": [_column(*c) for c in columns.items()]}]
    (house.settings.contracts / f"{name}.odcs.yaml").write_text(yaml.safe_dump(body, sort_keys=False))
    suite = {
        "name": f"{name}-1.0.0",
        "expectations": [{"type": "expect_table_row_count_to_be_between", "kwargs": {"min_value": 1}}],
    }
    (house.settings.expectations / f"{name}-1.0.0.json").write_text(json.dumps(suite))
    return house.contracts[name]


def _column(name: str, declared: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    kind, measure = declared
    return {
        "name": name,
        "logicalType": kind,
        "required": name not in NULLABLE,
        "customProperties": [{"property": "class", "value": "plain" if "number" in measure else "sensitive"}],
    }
