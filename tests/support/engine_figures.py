"""The figures of an installation that follow from the feed and the contracts alone, to compare two installations by.

Left out is what follows from keys, which each installation makes for itself. Keys choose the tokens, tokens order the
units of privacy, and that order chooses the hold-out: so the rows of synthetic datasets, their training sets, and the
gate's figures of both differ. Of a tokenized column remains what no key changes: nulls, how many values there are, and
how often each occurs.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import Counter
from typing import Any

import pyarrow as pa

from cloakhouse.contracts.model import Contract, Kind
from cloakhouse.contracts.parser import load_contracts
from cloakhouse.keys.service import open_ring
from cloakhouse.lake.manifests import read_manifest
from cloakhouse.lake.parquet import FileEntry, TableStore
from cloakhouse.lake.store.opening import open_store
from cloakhouse.ledger.audit import AuditLog
from cloakhouse.ledger.audit_event import Action
from cloakhouse.ledger.budget import PrivacyLedger
from cloakhouse.ledger.catalogue import Catalogue, ManifestRef
from cloakhouse.ledger.versions import VersionRegister
from cloakhouse.settings import Settings
from cloakhouse.stages.consent_counts import counts
from cloakhouse.stages.version_checks import open_release

KEYED = ("token", "reversible token", "format-preserving token")
KEYLESS_GATE = ("k-anonymity of customers", "rho of all noise in the model", "rho committed in the privacy ledger")
PLACES = 9  # of those figures: a sum of noise's costs ends otherwise in its last digits in another order of tables
STEPS = (Action.LAND, Action.PSEUDONYMIZE, Action.VALIDATE, Action.SYNTHESIZE, Action.PUBLISH, Action.SPEND)


def deliveries(settings: Settings) -> dict[str, Any]:
    """Return, per feed and partition, digest, rows, bytes of each landed revision."""
    catalogue = Catalogue(settings.database)
    return {
        f"{name} {partition}": [(one.sha256, one.rows, one.bytes) for one in revisions]
        for name in _feeds(settings)
        for partition, revisions in catalogue.deliveries(name).items()
    }


def partitions(settings: Settings) -> dict[str, Any]:
    """Return, per feed and partition, the counts of the catalogue and of the manifest: rows protected, withheld, and
    quarantined by reason; contract, validation, columns with their classes, and columns nobody declared."""
    found = {}
    for name in _feeds(settings):
        for partition, row in Catalogue(settings.database).protected(name).items():
            content = _manifest(settings, row.manifest)
            found[f"{name} {partition}"] = {
                "catalogue": (row.rows, row.withheld, row.quarantined, row.validated, row.contract_version),
                "rows": (content["rows"], content["withheld"], content["quarantined"]),
                "columns": (content["columns"], content["undeclared_columns"]),
            }
    return found


def columns(settings: Settings) -> dict[str, Any]:
    """Return, per feed and column of its protected rows, what no key changes (see the module)."""
    found = {}
    for name, contract in _feeds(settings).items():
        keyed = {column.name for column in contract.columns if column.treatment.name in KEYED}
        table = _protected(settings, name)
        for column in table.column_names:
            values = Counter(table[column].to_pylist())
            profile = Counter(values.values())
            found[f"{name}.{column}"] = {
                "type": str(table[column].type),
                "nulls": table[column].null_count,
                "distinct": len(values),
                "occurrences": _digest(sorted(profile.items())),
                "values": None if column in keyed else _digest(sorted(values.items(), key=repr)),
            }
    return found


def persons(settings: Settings) -> list[Any]:
    """Return how many persons allow each purpose under each law."""
    return [dataclasses.astuple(count) for count in counts(settings)]


def budgets(settings: Settings) -> Any:
    """Return what was spent of which account, in order of purpose; ids hold digests of inputs that follow keys."""
    spends = PrivacyLedger(settings.database).spends()
    return sorted((s.purpose, s.rho, s.delta, s.state, [str(account) for account in s.accounts]) for s in spends)


def verdicts(settings: Settings) -> dict[str, Any]:
    """Return, per published version, its suite's checks and the gate's figures: all with threshold and verdict, those
    that don't follow from keys with their values; guarantee; account, but for what was left of it, which follows from
    what else was released before; and each feed's checks by columns."""
    found = {}
    for version in VersionRegister(settings.database).heads():
        card = open_release(settings, version).card
        evidence = _manifest(settings, open_release(settings, version).evidence)
        found[version.name] = {
            "zone": version.zone,
            "quality": card.get("quality"),
            "gate": [(f["name"], f["threshold"], f["passed"], _keyless(f)) for f in evidence.get("gate", [])],
            "guarantee": card["privacy"]["guarantee"],
            "account": _account(card.get("account")),
        }
    return found | _checks(settings)


def cells(settings: Settings, name: str) -> dict[tuple[Any, ...], tuple[float, float]]:
    """Return the cells of a published aggregate: key to value and standard error."""
    version = next(v for v in VersionRegister(settings.database).heads() if v.dataset == name)
    store = TableStore(open_store(settings), open_ring(settings))
    table = pa.concat_tables([store.read(entry) for entry in open_release(settings, version).files])
    keys = [c for c in table.column_names if c not in ("value", "low", "high", "standard_error")]
    return {
        tuple(str(row[key]) for key in keys): (float(row["value"]), float(row["standard_error"]))
        for row in table.to_pylist()
    }


def steps(settings: Settings) -> Counter[tuple[str, str, str]]:
    """Return how often the audit log has each step of the path done or refused: action, dataset, decision."""
    entries = AuditLog(settings.database).events()
    return Counter((e.action, e.dataset, e.decision) for e in entries if e.action in STEPS)


def unlisted(settings: Settings, name: str) -> set[str]:
    """Return files of the protected and quarantine zones that no current manifest of `name` lists, nor any of a
    partition's earlier manifests: what a lost attempt left over. Raises AssertionError when a listed one is missing."""
    listed = set()
    for row in Catalogue(settings.database).protected(name).values():
        content = _manifest(settings, row.manifest)
        listed |= {item["path"] for item in (*content["files"], *content["quarantine"])}
    store = open_store(settings)
    there = {i.path for zone in ("protected", "quarantine") for i in store.list(f"{zone}/{name}")}
    files = {path for path in there if not path.endswith(".json")}
    assert listed <= files, f"{len(listed - files)} files of the catalogue are missing"
    return files - listed


def _checks(settings: Settings) -> dict[str, Any]:
    store = open_store(settings)
    found: dict[str, Any] = {}
    for name in _feeds(settings):
        results: Counter[Any] = Counter()
        for info in store.list(f"evidence/{name}"):
            content = json.loads(store.read(info.path))
            for group in content.get("groups", []):
                for check in group["result"]["expectations"]:
                    results[check["type"], tuple(check["columns"]), check["success"], check["unexpected_count"]] += 1
        found[f"checks of {name}"] = sorted(results.items(), key=repr)
    return found


def _account(account: dict[str, Any] | None) -> dict[str, Any] | None:
    return None if account is None else {name: account[name] for name in ("consumer", "renews")}


def _keyless(figure: dict[str, Any]) -> float | None:
    return round(figure["value"], PLACES) if figure["name"] in KEYLESS_GATE else None


def _feeds(settings: Settings) -> dict[str, Contract]:
    return {n: c for n, c in load_contracts(settings.contracts).items() if c.kind is Kind.FEED}


def _protected(settings: Settings, name: str) -> pa.Table:
    store = TableStore(open_store(settings), open_ring(settings))
    manifests = [_manifest(settings, row.manifest) for row in Catalogue(settings.database).protected(name).values()]
    return pa.concat_tables([store.read(FileEntry(**item)) for content in manifests for item in content["files"]])


def _manifest(settings: Settings, reference: ManifestRef) -> dict[str, Any]:
    return read_manifest(open_store(settings), reference)


def _digest(value: object) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()[:16]
