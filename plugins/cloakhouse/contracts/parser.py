"""From an ODCS v3 YAML file to a checked Contract, or a refusal that names file, line, column and remedy.

The privacy part sits in ODCS customProperties: `dataset`, `feed`, `synthesis`, `gate` and `approval` at the top,
`class` and `treatment` on each column. The order of the checks:

1. the text is YAML, each key once (`cloakhouse.contracts.source`);
2. the document is ODCS v3 (the model of the package `open-data-contract-standard`);
3. the privacy part is complete and holds nothing unknown;
4. each column has a class and a treatment that applies to its type, and no direct identifier is kept.

Source: Open Data Contract Standard v3.1, https://bitol-io.github.io/open-data-contract-standard/.
"""

from __future__ import annotations

import functools
import re
from dataclasses import replace
from pathlib import Path

from cloakhouse.contracts.approval import read_approval
from cloakhouse.contracts.column_treatments import check_subjects
from cloakhouse.contracts.columns import NAME, read_columns
from cloakhouse.contracts.delivery import read_feed
from cloakhouse.contracts.fields import Fields, custom_properties
from cloakhouse.contracts.gate import read_gate
from cloakhouse.contracts.guarantee import read_budget
from cloakhouse.contracts.model import Contract, Kind, content_digest
from cloakhouse.contracts.processing import read_processing
from cloakhouse.contracts.query import read_query
from cloakhouse.contracts.query_faults import check_queries
from cloakhouse.contracts.references import check_references
from cloakhouse.contracts.source import Source, parse_yaml
from cloakhouse.contracts.subject import read_rights
from cloakhouse.contracts.subject_faults import check_data_subjects
from cloakhouse.contracts.view import read_synthesis
from cloakhouse.errors import ContractError
from cloakhouse.folders import files_like

VERSION = re.compile(r"\d+\.\d+\.\d+")
ZONES = ("landing", "quarantine", "protected", "synthetic", "aggregates")
QUERIES = "queries"  # holds the answers of queries that stand in no contract (`cloakhouse.stages.aggregate`)
RESERVED = {  # names of folders that the platform keeps for itself
    QUERIES: "answers of queries",
    "audit": "checkpoints of the audit log",
    "collections": "reports of the collector",
    "keys": "reports on keys",
    "retention": "reports of retention",
    "rights": "lists of persons by token, and what was done about their requests",
}
PROPERTIES_OF = {
    Kind.FEED: ("feed", "privacyBudget", "processing", "subject", "consent", "residency"),
    Kind.SYNTHETIC: ("synthesis", "gate", "approval", "processing", "consent", "residency"),
    Kind.AGGREGATE: ("query", "approval", "processing", "consent", "residency"),
}
MAX_CONTRACT_BYTES = 1 << 20


def load_contract(path: Path) -> Contract:
    """Return the contract in the file `path`. Raises ContractError. The file is read each time."""
    return _build(_read(path))


def load_contracts(folder: Path) -> dict[str, Contract]:
    """Return every contract of `folder` (`*.odcs.yaml`) by dataset name, in name order.

    Raises ContractError for a folder that can't be listed, for the first file that is refused, for two files that name
    one dataset, and for a reference to a dataset or column that no contract declares.
    """
    contracts: dict[str, tuple[Contract, Source]] = {}
    try:
        paths = files_like(folder, "*.odcs.yaml")
    except OSError as fault:
        remedy = "give the user who runs the platform the right to list it"
        raise _unreadable(folder.name, "a folder that can be listed", type(fault).__name__, remedy) from None
    for path in paths:
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
    check_queries(contracts)
    check_data_subjects(contracts)
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
        return replace(_parsed(raw.decode("utf-8"), path.name), folder=path.parent)
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


@functools.lru_cache(maxsize=64)
def _parsed(text: str, name: str) -> Source:
    """Return `text` as a Source, which nobody changes: of a text that is read again, its YAML is most of the work."""
    return parse_yaml(text, name)


def _unreadable(where: str, expected: str, found: str, remedy: str) -> ContractError:
    return ContractError(
        where=where,
        expected=expected,
        found=found,
        not_done="the contract was not loaded",
        remedy=remedy,
        code="file",
    )


def parse_contract(text: str, name: str, *, accepted: bool = False) -> Contract:
    """Return the contract in `text`; `name` is the file name for messages. Raises ContractError.

    Of a text that the platform accepted before, as its digest says, the ODCS model isn't asked again, which takes a
    package that whoever verifies a bundle may not have.
    """
    return _build(parse_yaml(text, name), accepted=accepted)


def _build(source: Source, *, accepted: bool = False) -> Contract:
    if not accepted:
        _check_odcs(source)
    root = Fields(source, ())
    root.check_value("kind", "DataContract")
    dataset = root.text("name", NAME, "a name of lower-case letters, digits and _")
    if dataset in RESERVED:
        raise root.fault("name", "another name", f"`{dataset}`, which holds {RESERVED[dataset]}", "rename the dataset")
    version = root.text("version", VERSION, "a version as MAJOR.MINOR.PATCH")
    if not root.text("apiVersion").startswith("v3."):
        raise root.fault("apiVersion", "ODCS v3", "another version", "write the contract in ODCS v3")
    known = {"dataset", *(name for names in PROPERTIES_OF.values() for name in names)}
    properties = custom_properties(source, (), known)
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
    treated = Kind.FEED if kind is Kind.FEED else Kind.SYNTHETIC  # columns of others have no treatment
    columns = tuple(read_columns(source, treated, accepted=accepted))
    check_subjects(source, columns)
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
        feed=read_feed(source, properties, kind),
        synthesis=read_synthesis(source, properties, kind, columns),
        gate=read_gate(source, properties, kind),
        privacy_budget=read_budget(source, properties, kind),
        query=read_query(source, properties, kind, columns),
        approval=read_approval(source, properties),
        processing=read_processing(source, properties),
        rights=read_rights(source, properties),
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


def _retention(facts: Fields) -> dict[str, int]:
    zones = facts.child("retentionDays")
    days = {name: zones.whole(name, 1, 36_500) for name in ZONES if name in zones.data}
    zones.nothing_else(*ZONES)
    if not days:
        raise facts.fault("retentionDays", "days for at least one zone", "none", "e.g. {landing: 30}")
    return days
