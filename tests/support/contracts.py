"""Small contracts for tests, made by the real parser from YAML text."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from cloakhouse.contracts.model import Contract, Treatment
from cloakhouse.contracts.parser import parse_contract

SHIPPED = Path(__file__).resolve().parents[2] / "dags" / "contracts"

COLUMNS = (
    "{name: id, logicalType: integer, required: true, logicalTypeOptions: {minimum: 1}, customProperties: "
    "[{property: class, value: direct identifier}, "
    "{property: treatment, value: {token: {domain: customer, purpose: analytics}}}]}",
    "{name: name, logicalType: string, required: true, logicalTypeOptions: {maxLength: 20}, customProperties: "
    "[{property: class, value: direct identifier}, {property: treatment, value: drop}]}",
    "{name: amount, logicalType: number, customProperties: "
    "[{property: class, value: sensitive}, {property: treatment, value: keep}]}",
)


def keeping(contracts: dict[str, Contract], dataset: str, name: str) -> dict[str, Contract]:
    """Return `contracts` with the column `name` of `dataset` kept as it is."""
    changed = contracts[dataset]
    columns = tuple(replace(c, treatment=Treatment("keep")) if c.name == name else c for c in changed.columns)
    return {**contracts, dataset: replace(changed, columns=columns)}


def column(
    name: str, kind: str = "string", *, required: bool = False, options: str = "", cls: str = "plain", how: str = "keep"
) -> str:
    """Return one column as flow YAML."""
    extra = f", logicalTypeOptions: {options}" if options else ""
    return (
        f"{{name: {name}, logicalType: {kind}, required: {str(required).lower()}{extra}, customProperties: "
        f"[{{property: class, value: {cls}}}, {{property: treatment, value: {how}}}]}}"
    )


def feed_text(
    name: str = "people",
    *,
    columns: Iterable[str] = COLUMNS,
    files: str = "",
    form: str = "csv",
    delimiter: str = ",",
    period: str = "day",
    first: str = "2016-12-26",
    max_line: int = 65536,
    after: str = "delete",
    version: str = "1.0.0",
) -> str:
    """Return the YAML of a small, valid feed contract."""
    head = f"""\
    apiVersion: v3.1.0
    kind: DataContract
    id: urn:cloakhouse:contract:{name}
    name: {name}
    version: {version}
    status: active
    description:
      purpose: made for a test
    customProperties:
      - property: dataset
        value:
          kind: feed
          owner: tests
          purpose: analytics
          legalBasis: consent
          retentionDays: {{landing: 30, protected: 730}}
          unitOfPrivacy: household
      - property: feed
        value:
          files: {files or name + "-{partition}." + form}
          format: {form}
          delimiter: "{delimiter}"
          period: {period}
          firstPartition: {first}
          maxLineBytes: {max_line}
          afterLanding: {after}
    schema:
      - name: {name}
        logicalType: object
        properties:
    """
    return textwrap.dedent(head).rstrip() + "\n" + "".join(f"      - {column}\n" for column in columns)


def feed_contract(name: str = "people", **changes: object) -> Contract:
    """Return `feed_text` parsed."""
    return parse_contract(feed_text(name, **changes), f"{name}.odcs.yaml")  # type: ignore[arg-type]
