"""From an ODCS v3 YAML file to a checked Contract, or a refusal that names file, line, column and remedy.

The privacy part sits in ODCS customProperties: `dataset`, `feed`, `synthesis` and `gate` at the top,
`class` and `treatment` on each column. The order of the checks:

1. the text is YAML, each key once (`cloakhouse.contracts.source`);
2. the document is ODCS v3 (the model of the package `open-data-contract-standard`);
3. the privacy part is complete and holds nothing unknown;
4. each column has a class and a treatment that applies to its type, and no direct identifier is kept.

Source: Open Data Contract Standard v3.1, https://bitol-io.github.io/open-data-contract-standard/.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cloakhouse.contracts import treatments
from cloakhouse.contracts.fields import Fields
from cloakhouse.contracts.model import (
    Column,
    ColumnClass,
    Contract,
    Feed,
    Gate,
    Kind,
    Period,
    Reference,
    Treatment,
    content_digest,
)
from cloakhouse.contracts.source import Path as Node
from cloakhouse.contracts.source import Source, parse_yaml
from cloakhouse.contracts.view import read_synthesis
from cloakhouse.errors import ContractError

LOGICAL_TYPES = ("string", "integer", "number", "boolean", "date", "timestamp")
NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
VERSION = re.compile(r"\d+\.\d+\.\d+")
NEVER_KEPT = (ColumnClass.DIRECT, ColumnClass.PAYMENT)
MAX_CONTRACT_BYTES = 1 << 20


def load_contract(path: Path) -> Contract:
    """Return the contract in the file `path`. Raises ContractError; nothing is cached."""
    where = path.name
    try:
        raw = path.read_bytes()
        text = raw.decode("utf-8")
    except (OSError, UnicodeDecodeError) as fault:
        raise ContractError(
            where=where,
            expected="a readable UTF-8 file",
            found=type(fault).__name__,
            not_done="the contract was not loaded",
            remedy="restore the file or its permissions",
        ) from None
    if len(raw) > MAX_CONTRACT_BYTES:
        raise ContractError(
            where=where,
            expected=f"at most {MAX_CONTRACT_BYTES} bytes",
            found=f"{len(raw)} bytes",
            not_done="the contract was not loaded",
            remedy="split the dataset, or check that this is a contract",
        )
    return parse_contract(text, where)


def load_contracts(folder: Path) -> dict[str, Contract]:
    """Return every contract of `folder` (`*.odcs.yaml`) by dataset name, in name order.

    Raises ContractError for the first file that is refused, for two files that name one dataset, and for
    a reference to a dataset or column that no contract declares.
    """
    contracts: dict[str, Contract] = {}
    for path in sorted(folder.glob("*.odcs.yaml")):
        contract = load_contract(path)
        if contract.name in contracts:
            raise _across(path.name, "one contract per dataset", f"a second one for `{contract.name}`")
        contracts[contract.name] = contract
    for contract in contracts.values():
        for dataset, column in _references(contract):
            target = contracts.get(dataset)
            if target is None or column not in {c.name for c in target.kept_columns}:
                raise _across(
                    f"contract {contract.name}",
                    f"`{dataset}.{column}` in the protected zone",
                    "no such column",
                )
    return contracts


def _references(contract: Contract) -> Iterator[tuple[str, str]]:
    for column in contract.columns:
        if column.reference:
            yield column.reference.dataset, column.reference.column
    if contract.synthesis:
        view = contract.synthesis.view
        for name in (*view.group_by, view.unit):
            yield view.source, name
        for lookup in view.lookups:
            for name in (lookup.on, *lookup.columns):
                yield lookup.dataset, name
    if contract.gate:
        for name in contract.gate.quasi_identifiers:
            yield contract.gate.k_dataset, name


def _across(where: str, expected: str, found: str) -> ContractError:
    return ContractError(
        where=where,
        expected=expected,
        found=found,
        not_done="no contract was loaded",
        remedy="correct the name, or add the contract that is missing",
    )


def parse_contract(text: str, name: str) -> Contract:
    """Return the contract in `text`; `name` is the file name for messages. Raises ContractError."""
    source = parse_yaml(text, name)
    _check_odcs(source)
    root = Fields(source, ())
    root.check_value("kind", "DataContract")
    dataset = root.text("name", NAME, "a name of lower-case letters, digits and _")
    version = root.text("version", VERSION, "a version as MAJOR.MINOR.PATCH")
    if not root.text("apiVersion").startswith("v3."):
        raise root.fault("apiVersion", "ODCS v3", "another version", "write the contract in ODCS v3")
    properties = _custom_properties(source, (), {"dataset", "feed", "synthesis", "gate"})
    if "dataset" not in properties:
        raise root.fault("customProperties", "a property `dataset`", "none", "declare owner, purpose, legalBasis, ...")
    facts = Fields(source, properties["dataset"])
    kind = Kind(facts.choice("kind", [k.value for k in Kind]))
    columns = tuple(_columns(source, kind))
    contract = Contract(
        name=dataset,
        version=version,
        digest=content_digest(source.data),
        kind=kind,
        description=Fields(source, ("description",)).text("purpose"),
        owner=facts.text("owner"),
        purpose=facts.text("purpose"),
        legal_basis=facts.text("legalBasis"),
        retention_days=_retention(facts),
        unit_of_privacy=facts.text("unitOfPrivacy"),
        columns=columns,
        feed=_feed(source, properties, kind),
        synthesis=read_synthesis(source, properties, kind, columns),
        gate=_gate(source, properties, kind),
    )
    facts.nothing_else()
    return contract


def _check_odcs(source: Source) -> None:
    import pydantic
    from open_data_contract_standard.model import OpenDataContractStandard

    if not isinstance(source.data, dict):
        raise source.error(
            (), expected="a mapping", found=type(source.data).__name__, remedy="start from an ODCS template"
        )
    try:
        OpenDataContractStandard.model_validate(source.data)
    except pydantic.ValidationError as fault:
        first = fault.errors(include_input=False, include_url=False)[0]
        path = tuple(first["loc"])
        raise source.error(
            path,
            expected="a document that the ODCS v3 model accepts",
            found=f"{first['msg']} at `{'.'.join(map(str, path))}`",
            remedy="correct that key; the ODCS v3 reference lists what may stand there",
            code="odcs",
        ) from None


def _custom_properties(source: Source, path: Node, known: set[str]) -> dict[str, Node]:
    """Return the node of each value of `customProperties` below `path`, by property name."""
    data = source.data
    for step in path:
        data = data[step]
    found: dict[str, Node] = {}
    for index, item in enumerate(data.get("customProperties") or []):
        name = item.get("property")
        here = (*path, "customProperties", index)
        if name not in known or name in found:
            raise source.error(
                (*here, "property"),
                expected="each of: " + ", ".join(sorted(known)) + ", once",
                found=f"`{name}`",
                remedy="remove it, or correct its spelling",
                code="property",
            )
        found[name] = (*here, "value")
    return found


def _retention(facts: Fields) -> dict[str, int]:
    zones = facts.child("retentionDays")
    days = {name: zones.whole(name, 1, 36_500) for name in sorted(zones.data)}
    if not days:
        raise facts.fault("retentionDays", "days for at least one zone", "none", "e.g. {landing: 30}")
    return days


def _columns(source: Source, kind: Kind) -> Iterator[Column]:
    schema = source.data.get("schema") or []
    if len(schema) != 1 or not schema[0].get("properties"):
        raise source.error(
            ("schema",),
            expected="one schema object with properties",
            found=f"{len(schema)} objects",
            remedy="declare the columns under schema[0].properties; one contract describes one dataset",
        )
    seen: set[str] = set()
    for index in range(len(schema[0]["properties"])):
        column = _column(source, ("schema", 0, "properties", index), kind)
        if column.name in seen:
            raise source.error(
                ("schema", 0, "properties", index, "name"),
                expected="each column once",
                found=f"`{column.name}` a second time",
                remedy="remove one of the two",
            )
        seen.add(column.name)
        yield column


def _column(source: Source, path: Node, kind: Kind) -> Column:
    fields = Fields(source, path)
    name = fields.text("name", NAME, "a name of lower-case letters, digits and _")
    logical_type = fields.choice("logicalType", LOGICAL_TYPES)
    properties = _custom_properties(source, path, {"class", "treatment"})
    if "class" not in properties:
        raise source.error(
            path,
            expected=f"a class for column `{name}`",
            found="none",
            remedy="add customProperties `class`: one of " + ", ".join(c.value for c in ColumnClass),
            code="class",
        )
    holder = Fields(source, properties["class"][:-1])
    column_class = ColumnClass(holder.choice("value", [c.value for c in ColumnClass]))
    treatment = _treatment(source, path, properties, kind, logical_type, column_class)
    options = fields.child("logicalTypeOptions") if "logicalTypeOptions" in fields.data else None
    return Column(
        name=name,
        logical_type=logical_type,
        required=bool(fields.data.get("required", False)),
        column_class=column_class,
        treatment=treatment,
        minimum=options.data.get("minimum") if options else None,
        maximum=options.data.get("maximum") if options else None,
        pattern=options.data.get("pattern") if options else None,
        max_length=options.data.get("maxLength") if options else None,
        reference=_reference(fields),
    )


def _treatment(
    source: Source, path: Node, properties: dict[str, Node], kind: Kind, logical_type: str, cls: ColumnClass
) -> Treatment:
    if kind is Kind.SYNTHETIC:
        if cls in NEVER_KEPT or "treatment" in properties:
            raise source.error(
                path,
                expected="synthetic columns without treatment, and none of class " + " or ".join(NEVER_KEPT),
                found=f"a column of class {cls.value}" if cls in NEVER_KEPT else "a treatment",
                remedy="leave the column out of the synthetic dataset, or remove the treatment",
                code="treatment",
            )
        return Treatment("keep")
    if "treatment" not in properties:
        raise source.error(
            path,
            expected="a treatment",
            found="none",
            remedy="add customProperties `treatment`: one of " + ", ".join(treatments.REGISTRY),
            code="treatment",
        )
    node = properties["treatment"]
    value: Any = source.data
    for step in node:
        value = value[step]
    name, parameters = (value, {}) if isinstance(value, str) else _single(source, node, value)
    fault = treatments.fault_in(name, parameters, logical_type)
    if fault:
        key, expected, found = fault
        raise source.error(
            (*node, name, key) if key else node,
            expected=expected,
            found=found,
            remedy="correct the treatment; `cloakhouse contracts --treatments` lists them all",
            code="treatment",
        )
    if name == "keep" and cls in NEVER_KEPT:
        raise source.error(
            node,
            expected=f"a {cls.value} to be dropped, tokenized, generalized or masked",
            found="keep",
            remedy="choose `drop` unless a purpose needs the column, else `token`",
            code="treatment",
        )
    return Treatment(name, parameters)


def _single(source: Source, node: Node, value: Any) -> tuple[str, dict[str, Any]]:
    if not isinstance(value, dict) or len(value) != 1:
        raise source.error(
            node,
            expected="one treatment: its name, or {name: {parameters}}",
            found=type(value).__name__,
            remedy="write e.g. `token: {domain: customer, purpose: analytics}`",
            code="treatment",
        )
    ((name, parameters),) = value.items()
    return str(name), dict(parameters or {})


def _reference(fields: Fields) -> Reference | None:
    relationships = fields.data.get("relationships")
    if not relationships:
        return None
    to = str(relationships[0].get("to", ""))
    match = re.fullmatch(r"([a-z][a-z0-9_]*)\.([a-z][a-z0-9_]*)", to)
    if len(relationships) != 1 or match is None:
        raise fields.fault(
            "relationships", "one relationship to `dataset.column`", "another form", "write to: customers.id"
        )
    return Reference(match.group(1), match.group(2))


def _feed(source: Source, properties: dict[str, Node], kind: Kind) -> Feed | None:
    if kind is not Kind.FEED:
        return None
    if "feed" not in properties:
        raise source.error(
            ("customProperties",),
            expected="a property `feed` for a feed contract",
            found="none",
            remedy="declare files, format, period, firstPartition, afterLanding",
        )
    fields = Fields(source, properties["feed"])
    files = fields.text("files")
    if files.count("{partition}") != 1 or "/" in files:
        raise fields.fault("files", "a file name with one {partition}", "another form", "e.g. a-{partition}.csv")
    first = fields.data.get("firstPartition")
    if not isinstance(first, dt.date):
        raise fields.fault("firstPartition", "a date as YYYY-MM-DD", type(first).__name__, "give the first day")
    feed = Feed(
        files=files,
        format=fields.choice("format", ["csv", "jsonl"]),
        delimiter=str(fields.data.get("delimiter", ",")),
        period=Period(fields.choice("period", [p.value for p in Period])),
        first_partition=first,
        max_line_bytes=fields.whole("maxLineBytes", 64, 64 << 20, 1 << 20),
        after_landing=fields.choice("afterLanding", ["delete", "keep"]),
    )
    if len(feed.delimiter) != 1:
        raise fields.fault("delimiter", "one character", f"{len(feed.delimiter)}", "e.g. ',' or ';'")
    if feed.period is Period.WEEK and first.weekday() != 0:
        raise fields.fault("firstPartition", "a Monday", "another day", "weeks start on Monday (ISO 8601)")
    fields.nothing_else("delimiter", "firstPartition")
    return feed


def _gate(source: Source, properties: dict[str, Node], kind: Kind) -> Gate | None:
    if kind is not Kind.SYNTHETIC:
        return None
    if "gate" not in properties:
        raise source.error(
            ("customProperties",),
            expected="a property `gate` for a synthetic dataset",
            found="none",
            remedy="declare maxCopyExcess, minHoldoutUnits and kAnonymity: {dataset, over, k}",
        )
    fields = Fields(source, properties["gate"])
    anonymity = fields.child("kAnonymity")
    over = anonymity.names("over")
    gate = Gate(
        max_copy_excess=fields.share("maxCopyExcess"),
        min_holdout_units=fields.whole("minHoldoutUnits", 1, 1_000_000),
        k_dataset=anonymity.text("dataset"),
        quasi_identifiers=over,
        min_k=anonymity.whole("k", 2, 1_000_000),
    )
    anonymity.nothing_else()
    fields.nothing_else()
    return gate
