"""Pseudonymize: landed deliveries become encrypted, treated Parquet in the protected zone. One Spark job.

`plan` decides what to do and writes a request manifest; `run` does it on a Spark session:

1. every delivery of the request is one Spark task; the plan holds a range of numbers and nothing else;
2. a worker writes files under names of its own attempt and reports their entries, so a retried or a
   speculative task leaves at most a file that no manifest lists;
3. the driver writes one manifest per partition, then all rows of the control database in one transaction;
4. files in the folders of this request that its outcome does not list are removed: leftovers of a killed run, and,
   when the same request is done again, what the earlier outcome had written.

Killed anywhere, the same plan is made again and the same work done again; nothing is visible twice.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from cloakhouse.contracts.model import Contract
from cloakhouse.contracts.parser import load_contracts
from cloakhouse.errors import CloakhouseError, StageError, internal
from cloakhouse.keys.derive import TokenKeys
from cloakhouse.keys.files import locked
from cloakhouse.keys.service import service_of
from cloakhouse.lake.manifests import read_manifest, write_manifest
from cloakhouse.lake.parquet import FileEntry
from cloakhouse.ledger.catalogue import Catalogue, Delivery, ManifestRef, ProtectedPartition
from cloakhouse.progress import Progress
from cloakhouse.settings import Settings
from cloakhouse.stages.sources import PROTECTED, partition_files
from cloakhouse.stages.treating import DeliveryTask, Treater
from cloakhouse.tokens.apply import TREATMENTS_VERSION
from cloakhouse.tokens.canonical import NORMALISATION_VERSION

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

REQUEST = "pseudonymization-request"
LOCK_WAIT_S = 600.0
POLL_S = 0.5


@dataclass(frozen=True)
class Pseudonymized:
    """What one job did: the result manifest, and totals."""

    manifest: ManifestRef
    partitions: int
    rows: int
    quarantined: dict[str, int]


def plan(
    settings: Settings, contract: Contract, partitions: Sequence[str] | None = None, *, reprocess: bool = False
) -> ManifestRef | None:
    """Return the request for all landed partitions that wait, or None when none does.

    A partition waits when its newest delivery, or the contract's version, is not the one it was protected from;
    `reprocess` takes it anyway. `partitions` (ISO dates) limits the choice.
    Raises ContractError when the contract changed without a new version, StageError for a missing reference.
    """
    catalogue = Catalogue(settings.database)
    catalogue.register_contract(contract)
    done = catalogue.protected(contract.name)
    chosen: list[Delivery] = []
    for partition, revisions in catalogue.deliveries(contract.name).items():
        if partitions is not None and partition not in partitions:
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
        settings.lake,
        f"protected/{contract.name}",
        REQUEST,
        {
            "dataset": contract.name,
            "contract": {"version": contract.version, "digest": contract.digest},
            "treatments": {"version": TREATMENTS_VERSION, "normalisation": NORMALISATION_VERSION},
            "deliveries": [{"partition": d.partition, **d.manifest.as_dict()} for d in chosen],
            "references": _references(contract, catalogue, settings),
        },
    )


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
    landed file, StageError when a task failed; then nothing new is visible.
    """
    content = read_manifest(settings.lake, request, REQUEST)
    contract = _contract(settings, content)
    with locked(settings.home / "locks" / f"{contract.name}.lock", LOCK_WAIT_S, f"pseudonymizing {contract.name}"):
        catalogue = Catalogue(settings.database)
        if not catalogue.anything_protected():  # else a lost root would silently be replaced
            TokenKeys(service_of(settings), settings.token_root).ensure_root()
        deliveries = [read_manifest(settings.lake, ManifestRef.of(d), "delivery") for d in content["deliveries"]]
        _require_newest(catalogue, contract, deliveries)
        references = {
            name: tuple(e for ref in refs for e in partition_files(settings, ManifestRef.of(ref)))
            for name, refs in content["references"].items()
        }
        attempt = request.sha256[:12]
        tasks = [
            DeliveryTask(d["partition"], d["object"], d["rows"], f"{contract.name}/{d['partition']}/{attempt}")
            for d in deliveries
        ]
        progress = Progress.of("pseudonymize", contract.name)
        outcomes = _on_spark(settings, contract, references, tasks, spark, progress)
        result = _commit(settings, contract, request, deliveries, outcomes)
        _remove_unlisted(settings, tasks, outcomes)
    quarantined = sum(result.quarantined.values())
    progress.finish(
        f"{result.rows:,} rows protected, {quarantined:,} quarantined, "
        f"{result.partitions} partition{'' if result.partitions == 1 else 's'}",
        rows=result.rows,
        quarantined=quarantined,
        partitions=result.partitions,
        reasons=json.dumps(result.quarantined),
    )
    return result


def _require_newest(catalogue: Catalogue, contract: Contract, deliveries: list[dict[str, Any]]) -> None:
    """Raise StageError when a correction landed after the request was planned: it must not be undone."""
    landed = catalogue.deliveries(contract.name)
    for delivery in deliveries:
        if landed[delivery["partition"]][-1].sha256 != delivery["sha256"]:
            raise StageError(
                where=f"{contract.name} {delivery['partition']}",
                expected="a request for the newest delivery",
                found="one that a later delivery has overtaken",
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


def _on_spark(
    settings: Settings,
    contract: Contract,
    references: dict[str, tuple[FileEntry, ...]],
    tasks: list[DeliveryTask],
    spark: SparkSession,
    progress: Progress,
) -> list[dict[str, Any]]:
    """Return the outcome of every task. The plan that Spark sees is a range of task numbers."""
    fields = {**settings.as_dict(), "database": ""}  # its URL may hold a password, and workers don't need it

    def work(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        worker = _Worker(Settings.from_dict(fields), contract, references)
        for batch in batches:
            for number in batch.column(0).to_pylist():
                yield worker.outcome(tasks[number])

    numbers = spark.range(0, len(tasks), 1, numPartitions=len(tasks))
    frame = numbers.mapInArrow(work, "outcome string")
    with _watching(spark, len(tasks), progress):
        rows = frame.collect()
    outcomes = [json.loads(row[0]) for row in rows]
    for outcome in outcomes:
        if "error" in outcome:
            raise _failed(contract, outcome)
    return sorted(outcomes, key=lambda outcome: str(outcome["partition"]))


class _Worker:
    """Treats deliveries in a Spark worker. Every exception is a result: Spark would log its text, which may quote
    values."""

    def __init__(self, settings: Settings, contract: Contract, references: dict[str, tuple[FileEntry, ...]]) -> None:
        self._arguments = (settings, contract, references)
        self._treater: Treater | None = None

    def outcome(self, task: DeliveryTask) -> pa.RecordBatch:
        """Return the outcome of one delivery as one JSON text."""
        try:
            self._treater = self._treater or Treater(*self._arguments)
            outcome = self._treater.run(task)
        except CloakhouseError as problem:
            outcome = {"partition": task.partition, "error": problem.as_dict()}
        except Exception as fault:  # noqa: BLE001 - see the class
            outcome = {"partition": task.partition, "error": internal("pseudonymize", fault).as_dict()}
        return pa.RecordBatch.from_pydict({"outcome": [json.dumps(outcome)]})


def _failed(contract: Contract, outcome: dict[str, Any]) -> StageError:
    problem = outcome["error"]
    return StageError(
        where=f"{contract.name} {outcome['partition']}: {problem['code']} at {problem['where']}",
        expected=problem["expected"],
        found=problem["found"],
        not_done="no partition of this job became visible; " + problem["not_done"],
        remedy=problem["remedy"],
        code="task",
    )


class _watching:
    """Reports finished Spark tasks while the block runs."""

    def __init__(self, spark: SparkSession, total: int, progress: Progress) -> None:
        self._tracker = spark.sparkContext.statusTracker()
        self._total = total
        self._progress = progress
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=5)

    def _watch(self) -> None:
        last = -1
        while not self._stop.wait(POLL_S):
            stages = [self._tracker.getStageInfo(s) for s in self._tracker.getActiveStageIds()]
            done = sum(stage.numCompletedTasks for stage in stages if stage)
            if stages and done != last:
                last = done
                self._progress.step(done, self._total, "partitions")


def _commit(
    settings: Settings,
    contract: Contract,
    request: ManifestRef,
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
            settings.lake,
            f"protected/{contract.name}/{outcome['partition']}",
            PROTECTED,
            {
                "dataset": contract.name,
                "contract": {"version": contract.version, "digest": contract.digest},
                "request": request.as_dict(),
                "delivery_sha256": delivery["sha256"],
                "undeclared_columns": delivery["undeclared_columns"],
                "columns": {c.name: c.column_class.value for c in contract.kept_columns},
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
            )
        )
    Catalogue(settings.database).record_protected(protected)
    result = write_manifest(
        settings.lake,
        f"protected/{contract.name}",
        "pseudonymization",
        {
            "dataset": contract.name,
            "request": request.as_dict(),
            "partitions": [p.manifest.as_dict() for p in protected],
        },
    )
    return Pseudonymized(result, len(protected), sum(p.rows for p in protected), dict(sorted(totals.items())))


def _remove_unlisted(settings: Settings, tasks: list[DeliveryTask], outcomes: list[dict[str, Any]]) -> None:
    """Remove files in this request's folders that no outcome lists: leftovers of retries and of killed runs."""
    listed = {item["path"] for outcome in outcomes for item in (*outcome["files"], *outcome["quarantine"])}
    for task in tasks:
        for zone in ("protected", "quarantine"):
            folder = settings.lake / zone / task.folder
            for path in folder.iterdir() if folder.is_dir() else ():
                if str(path.relative_to(settings.lake)) not in listed:
                    path.unlink(missing_ok=True)
