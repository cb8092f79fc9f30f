"""Pseudonymize: landed deliveries become encrypted, treated Parquet in the protected zone. One Spark job.

`plan` decides what to do and writes a request manifest; `run` does it on a Spark session, once it is recorded which
rows the workers are going to read and which keys they may open:

1. who may be used was pinned by the plan (`cloakhouse.stages.pinning`); workers get the list of these persons, and take
   the rows of all others out before they look at anything else in them;
2. every split of a delivery (`cloakhouse.stages.splits`) is one Spark task; the plan holds a range of numbers and
   nothing else;
3. a worker writes files under names of its own attempt and reports their entries, so a retried or a
   speculative task leaves at most a file that no manifest lists;
4. the driver waits for attempts that are no longer needed, puts the splits of each partition together, writes one
   manifest per partition, then all rows of the control database in one transaction, with their events;
5. files in the folders of this request that its outcome does not list are removed: leftovers of a killed run, and,
   when the same request is done again, what the earlier outcome had written.

Killed anywhere, the same plan is made again and the same work done again; nothing is visible twice.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cloakhouse.contracts.model import ColumnClass, Contract
from cloakhouse.contracts.parser import load_contracts
from cloakhouse.errors import StageError
from cloakhouse.keys.dataset_keys import DatasetKey
from cloakhouse.keys.files import locked
from cloakhouse.keys.protocol import FILE, FOOTER
from cloakhouse.lake.manifests import read_manifest, write_manifest
from cloakhouse.lake.parquet import FileEntry
from cloakhouse.lake.store.opening import open_store
from cloakhouse.ledger.audit_event import Action
from cloakhouse.ledger.catalogue import Catalogue, Delivery, ManifestRef, ProtectedPartition
from cloakhouse.progress import Progress
from cloakhouse.settings import Settings
from cloakhouse.stages.auditing import event, failures_recorded, leased, record
from cloakhouse.stages.leftovers import remove_others
from cloakhouse.stages.pinning import Pinned, pin
from cloakhouse.stages.reads import keys_of, read_of
from cloakhouse.stages.residency import check_residency, check_residency_of
from cloakhouse.stages.sieve_lists import keys_of_sieve, listed
from cloakhouse.stages.sources import PROTECTED, partition_files
from cloakhouse.stages.spark_tasks import on_spark, together
from cloakhouse.stages.token_roots import ensure_roots, roots_of
from cloakhouse.stages.treating import DeliveryTask, splits_for
from cloakhouse.tokens.apply import TREATMENTS_VERSION, check
from cloakhouse.tokens.canonical import NORMALISATION_VERSION
from cloakhouse.tokens.fictional import SUBSTITUTION_VERSION
from cloakhouse.tokens.refusals import unusable

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

REQUEST = "pseudonymization-request"
LOCK_WAIT_S = 600.0


@dataclass(frozen=True)
class Pseudonymized:
    """What one job did: the result manifest, and totals."""

    manifest: ManifestRef
    partitions: int
    rows: int
    quarantined: dict[str, int]
    withheld: int = 0


def plan(
    settings: Settings, contract: Contract, partitions: Sequence[str] | None = None, *, reprocess: bool = False
) -> ManifestRef | None:
    """Return the request for all landed partitions that wait, or None when none does.

    A partition waits when its newest delivery, or the contract's version, is not the one it was protected from;
    `reprocess` takes it anyway. One that is not kept any longer waits no more. `partitions` (ISO dates) limits the
    choice. A change of consents alone makes no partition wait: a withdrawal is taken out of it (`consent due`).
    Raises ContractError when the contract changed without a new version or asks for what can't be done, StageError
    for a missing reference.
    """
    check(contract.kept_columns)
    _check_types(settings, contract)
    catalogue = Catalogue(settings.database)
    catalogue.register_contract(contract)
    done, ended = catalogue.protected(contract.name), catalogue.expired(contract.name)
    chosen: list[Delivery] = []
    for partition, revisions in catalogue.deliveries(contract.name).items():
        if (partitions is not None and partition not in partitions) or partition in ended or revisions[-1].expired_at:
            continue
        current = done.get(partition)
        fresh = current is not None and (current.delivery_sha256, current.contract_version) == (
            revisions[-1].sha256,
            contract.version,
        )
        if reprocess or not fresh:
            chosen.append(revisions[-1])
    if not chosen:
        return None
    return write_manifest(
        open_store(settings),
        f"protected/{contract.name}",
        REQUEST,
        {
            "dataset": contract.name,
            "contract": {"version": contract.version, "digest": contract.digest},
            "treatments": {
                "version": TREATMENTS_VERSION,
                "normalisation": NORMALISATION_VERSION,
                "substitution": SUBSTITUTION_VERSION,
            },
            "deliveries": [{"partition": d.partition, **d.manifest.as_dict()} for d in chosen],
            "references": _references(contract, catalogue, settings),
            "rights": pin(settings, contract, load_contracts(settings.contracts)).as_dict(),
        },
    )


def _check_types(settings: Settings, contract: Contract) -> None:
    """Raise ContractError for a reference to a column of another type: integer 7 is not the text 7, nor are tokens."""
    for column in contract.columns:
        if column.reference is None:
            continue
        other = load_contracts(settings.contracts)[column.reference.dataset].column(column.reference.column)
        if other.logical_type != column.logical_type:
            where, expected = f"column {column.name}", f"a reference of type {other.logical_type}, as what it refers to"
            raise unusable("reference", where, expected, f"type {column.logical_type}")


def _references(contract: Contract, catalogue: Catalogue, settings: Settings) -> dict[str, list[dict[str, str]]]:
    """Return, per referencing column, the manifests of the partitions that hold the values it may have."""
    found = {}
    for column in contract.columns:
        if column.reference is None:
            continue
        version = load_contracts(settings.contracts)[column.reference.dataset].version
        protected = catalogue.protected(column.reference.dataset).values()
        current = [p for p in protected if p.contract_version == version]
        if not current:
            raise StageError(
                where=f"{contract.name}.{column.name}",
                expected=f"the dataset `{column.reference.dataset}` in the protected zone, which it refers to",
                found=f"no partition of it under its contract {version}",
                not_done=f"no partition of {contract.name} was pseudonymized; landed files wait",
                remedy=f"deliver `{column.reference.dataset}` and run its DAG first; this task tries again by itself",
                code="reference",
            )
        found[column.name] = [p.manifest.as_dict() for p in current]
    return found


def run(settings: Settings, request: ManifestRef, spark: SparkSession) -> Pseudonymized:
    """Do what `request` asks for on `spark` and return what was done.

    Raises ContractError when the contract is no longer the one of the request, IntegrityError for a changed
    landed file, StageError when a task failed, and for consents and erasures that are no longer those of the request
    (`cloakhouse.stages.pinning`); then nothing new is visible.
    """
    content = read_manifest(open_store(settings), request, REQUEST)
    contract, pinned = _contract(settings, content), Pinned.of(content)
    lock = settings.home / "locks" / f"{contract.name}.lock"
    described = event(settings, Action.PSEUDONYMIZE, contract.name, dataset=contract.name)
    with locked(lock, LOCK_WAIT_S, f"pseudonymizing {contract.name}"), failures_recorded(settings, described):
        catalogue = Catalogue(settings.database)
        check_residency(settings, contract, "landing", "quarantine", "protected")
        check_residency_of(settings, contract.references, "protected")
        ensure_roots(settings, roots_of(contract))
        deliveries = [read_manifest(open_store(settings), ManifestRef.of(d), "delivery") for d in content["deliveries"]]
        _require_newest(catalogue, contract, content["deliveries"])
        references = {
            name: tuple(e for ref in refs for e in partition_files(settings, ManifestRef.of(ref)))
            for name, refs in content["references"].items()
        }
        attempt = request.sha256[:12]
        tasks = [
            DeliveryTask(d["partition"], d["object"], split.rows, f"{contract.name}/{d['partition']}/{attempt}", split)
            for d in deliveries
            for split in splits_for(contract, d)
        ]
        progress = Progress.of("pseudonymize", contract.name)
        with listed(settings, contract, pinned) as persons:
            _record_reads(settings, contract, deliveries, references)
            outcomes = together(on_spark(settings, contract, references, tasks, spark, progress, persons))
        result = _commit(settings, contract, request, pinned, deliveries, outcomes)
        _remove_unlisted(settings, tasks, outcomes)
    quarantined = sum(result.quarantined.values())
    withheld = f"{result.withheld:,} withheld, " if pinned.erased else ""
    progress.finish(
        f"{result.rows:,} rows protected, {withheld}{quarantined:,} quarantined, "
        f"{result.partitions} partition{'' if result.partitions == 1 else 's'}",
        rows=result.rows,
        quarantined=quarantined,
        withheld=result.withheld,
        partitions=result.partitions,
        reasons=json.dumps(result.quarantined),
    )
    return result


def _record_reads(
    settings: Settings,
    contract: Contract,
    deliveries: Sequence[Mapping[str, Any]],
    references: Mapping[str, Sequence[FileEntry]],
) -> None:
    """Record what the workers are going to read, and which keys they may open."""
    contracts, by = load_contracts(settings.contracts), event(settings, Action.READ, contract.name)
    rows = sum(delivery["rows"] for delivery in deliveries)
    events = [read_of(by, "landing", contract.name, len(deliveries), rows, "pseudonymization")]
    keys = [DatasetKey("landing", FILE, contract.name), *keys_of("protected", contract)]
    keys += [DatasetKey("quarantine", use, contract.name) for use in (FOOTER, ColumnClass.DIRECT.key_name)]
    for name, files in references.items():
        reference = contract.column(name).reference
        assert reference is not None
        other, rows = contracts[reference.dataset], sum(entry.rows for entry in files)
        events.append(read_of(by, "protected", other.name, len(files), rows, f"references of {contract.name}"))
        keys += keys_of("protected", other, [reference.column])
    leased(settings, [*keys, *roots_of(contract), *keys_of_sieve(contract)], f"pseudonymize {contract.name}")
    record(settings, *events)


def _require_newest(catalogue: Catalogue, contract: Contract, planned: Sequence[Mapping[str, Any]]) -> None:
    """Raise StageError when a correction landed after the request was `planned`, which must not be undone, or a
    delivery has another manifest since: persons were cut out of it, and its object is another one."""
    landed, ended = catalogue.deliveries(contract.name), catalogue.expired(contract.name)
    for delivery in planned:
        newest = landed[delivery["partition"]][-1]
        if newest.manifest != ManifestRef.of(delivery) or newest.expired_at or delivery["partition"] in ended:
            raise StageError(
                where=f"{contract.name} {delivery['partition']}",
                expected="a request for the newest delivery",
                found="one that a later delivery, an erasure, or its retention has overtaken",
                not_done="nothing was pseudonymized",
                remedy="run the DAG again: it plans anew",
                code="overtaken",
            )


def _contract(settings: Settings, content: dict[str, Any]) -> Contract:
    contract = load_contracts(settings.contracts)[content["dataset"]]
    Catalogue(settings.database).register_contract(contract)
    if contract.digest != content["contract"]["digest"]:
        raise StageError(
            where=f"contract {contract.name}",
            expected=f"version {content['contract']['version']}, as planned",
            found=f"version {contract.version}",
            not_done="nothing was pseudonymized",
            remedy="run the DAG again: it will plan with the contract in force",
            code="contract-moved",
        )
    return contract


def _commit(
    settings: Settings,
    contract: Contract,
    request: ManifestRef,
    pinned: Pinned,
    deliveries: list[dict[str, Any]],
    outcomes: list[dict[str, Any]],
) -> Pseudonymized:
    by_partition = {d["partition"]: d for d in deliveries}
    protected = []
    totals: Counter[str] = Counter()
    for outcome in outcomes:
        delivery = by_partition[outcome["partition"]]
        totals.update(outcome["quarantined"])
        ref = write_manifest(
            open_store(settings),
            f"protected/{contract.name}/{outcome['partition']}",
            PROTECTED,
            {
                "dataset": contract.name,
                "contract": {"version": contract.version, "digest": contract.digest},
                "request": request.as_dict(),
                "delivery_sha256": delivery["sha256"],
                "undeclared_columns": delivery["undeclared_columns"],
                "columns": {c.name: c.column_class.value for c in contract.kept_columns},
                "rights": pinned.as_dict(),
                **outcome,
            },
        )
        protected.append(
            ProtectedPartition(
                contract.name,
                outcome["partition"],
                delivery["sha256"],
                contract.version,
                outcome["rows"],
                sum(outcome["quarantined"].values()),
                False,
                ref,
                outcome["withheld"],
                pinned.digest,
            )
        )
    by = event(settings, Action.PSEUDONYMIZE, contract.name, facts={"request": request.sha256})
    Catalogue(settings.database).record_protected(protected, by)
    result = write_manifest(
        open_store(settings),
        f"protected/{contract.name}",
        "pseudonymization",
        {
            "dataset": contract.name,
            "request": request.as_dict(),
            "partitions": [p.manifest.as_dict() for p in protected],
        },
    )
    rows, withheld = sum(p.rows for p in protected), sum(p.withheld for p in protected)
    return Pseudonymized(result, len(protected), rows, dict(sorted(totals.items())), withheld)


def _remove_unlisted(settings: Settings, tasks: list[DeliveryTask], outcomes: list[dict[str, Any]]) -> None:
    """Remove files in this request's folders that no outcome lists: leftovers of retries and of killed runs."""
    listed = {item["path"] for outcome in outcomes for item in (*outcome["files"], *outcome["quarantine"])}
    for task in tasks:
        for zone in ("protected", "quarantine"):
            remove_others(open_store(settings), f"{zone}/{task.folder}", listed)
