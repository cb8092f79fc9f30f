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
from cloakhouse.contracts.options import read_options
from cloakhouse.contracts.references import check_references
from cloakhouse.contracts.source import Path as Node
from cloakhouse.contracts.source import Source, parse_yaml
from cloakhouse.contracts.view import read_synthesis
from cloakhouse.errors import ContractError

LOGICAL_TYPES = ("string", "integer", "number", "boolean", "date", "timestamp")
NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
VERSION = re.compile(r"\d+\.\d+\.\d+")
ZONES = ("landing", "quarantine", "protected", "synthetic")
PROPERTIES_OF = {Kind.FEED: ("feed",), Kind.SYNTHETIC: ("synthesis", "gate")}
NEVER_KEPT = (ColumnClass.DIRECT, ColumnClass.PAYMENT)
MAX_CONTRACT_BYTES = 1 << 20
DELIMITERS = (",", ";", "|", "\t")


def load_contract(path: Path) -> Contract:
    """Return the contract in the file `path`. Raises ContractError; nothing is cached."""
    return _build(_read(path))


def load_contracts(folder: Path) -> dict[str, Contract]:
    """Return every contract of `folder` (`*.odcs.yaml`) by dataset name, in name order.

    Raises ContractError for the first file that is refused, for two files that name one dataset, and for
    a reference to a dataset or column that no contract declares.
    """
    contracts: dict[str, tuple[Contract, Source]] = {}
    for path in sorted(folder.glob("*.odcs.yaml")):
        source = _read(path)
        contract = _build(source)
        if contract.name in contracts:
            raise source.error(
                ("name",),
                expected="one contract per dataset",
                found=f"a second one for `{contract.name}`, after {contracts[contract.name][1].name}",
                remedy="rename one of the two, or remove it",
                code="twice",
            )
        contracts[contract.name] = contract, source
    check_references(contracts)
    return {name: contract for name, (contract, _) in contracts.items()}


def _read(path: Path) -> Source:
    try:
        with path.open("rb") as stream:
            raw = stream.read(MAX_CONTRACT_BYTES + 1)
        if len(raw) > MAX_CONTRACT_BYTES:
            raise _unreadable(
                f"{path.name}:1:1",
                f"at most {MAX_CONTRACT_BYTES} bytes",
                "more",
                "split the dataset, or check that this is a contract",
            )
        return parse_yaml(raw.decode("utf-8"), path.name)
    except UnicodeDecodeError as fault:
        before = raw[: fault.start].decode("utf-8")
        raise _unreadable(
            f"{path.name}:{before.count(chr(10)) + 1}:{len(before) - before.rfind(chr(10))}",
            "a UTF-8 file",
            "a byte that is not",
            "save the file as UTF-8",
        ) from None
    except OSError as fault:
        raise _unreadable(
            f"{path.name}:1:1", "a readable file", type(fault).__name__, "restore the file or its permissions"
        ) from None


def _unreadable(where: str, expected: str, found: str, remedy: str) -> ContractError:
    return ContractError(
        where=where,
        expected=expected,
        found=found,
        not_done="the contract was not loaded",
        remedy=remedy,
        code="file",
    )


def parse_contract(text: str, name: str) -> Contract:
    """Return the contract in `text`; `name` is the file name for messages. Raises ContractError."""
    return _build(parse_yaml(text, name))


def _build(source: Source) -> Contract:
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
    for other in sorted(properties.keys() - {"dataset", *PROPERTIES_OF[kind]}):
        raise source.error(
            properties[other][:-1],
            expected=f"of a {kind} contract: dataset, " + ", ".join(PROPERTIES_OF[kind]),
            found=f"`{other}`",
            remedy="remove it, or correct the kind",
            code="property",
        )
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


def _odcs_keys() -> frozenset[str]:
    """Return the keys that ODCS knows for a column; its model would ignore others."""
    from open_data_contract_standard.model import SchemaProperty

    return frozenset(SchemaProperty.model_fields)


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
    days = {name: zones.whole(name, 1, 36_500) for name in ZONES if name in zones.data}
    zones.nothing_else(*ZONES)
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
    options = read_options(fields, logical_type)
    required = fields.data.get("required", False)
    if type(required) is not bool:
        raise fields.fault("required", "true or false", type(required).__name__, "correct `required`")
    fields.nothing_else(*_odcs_keys())
    return Column(
        name=name,
        logical_type=logical_type,
        required=required,
        column_class=column_class,
        treatment=treatment,
        minimum=options.minimum,
        maximum=options.maximum,
        pattern=options.pattern,
        max_length=options.max_length,
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
        value = value.get(step) if isinstance(value, dict) else value[step]
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
    if not isinstance(parameters, dict | None):
        raise source.error(
            (*node, name),
            expected=f"the parameters of {name} as a mapping",
            found=type(parameters).__name__,
            remedy="write e.g. `token: {domain: customer, purpose: analytics}`",
            code="treatment",
        )
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
    if type(first) is not dt.date:
        raise fields.fault("firstPartition", "a date as YYYY-MM-DD", type(first).__name__, "give the first day")
    delimiter = fields.data.get("delimiter", ",")
    if delimiter not in DELIMITERS:
        raise fields.fault("delimiter", "one of ',' ';' '|' or a tab", "another", "e.g. delimiter: ','")
    feed = Feed(
        files=files,
        format=fields.choice("format", ["csv", "jsonl"]),
        delimiter=str(delimiter),
        period=Period(fields.choice("period", [p.value for p in Period])),
        first_partition=first,
        max_line_bytes=fields.whole("maxLineBytes", 64, 64 << 20, 1 << 20),
        after_landing=fields.choice("afterLanding", ["delete", "keep"]),
    )
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
