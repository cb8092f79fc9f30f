"""How a dataset becomes a visible version: what synthetic datasets and answers have in common.

1. a version with this fingerprint is returned as it is; one that was withdrawn or is gone is not published again, and
   none without the approval that its contract asks for;
2. every file is compared with its entry, and opened under its footer's key: its columns have the classes of the
   release, by which readers are decided over, while its keys are those of its own;
3. the control database is as new as the lake; a number is reserved, which is committed;
4. the release is signed and written; nothing points to it yet;
5. one transaction makes the version visible: its row, what the name stands for, and the events: that of the dataset's
   history, and that of the audit log.

2 to 5 hold the dataset's lock, so that neither a rewrite of its keys nor the collector takes the files for leftovers
meanwhile. Killed before 5, nothing is visible, and a rerun does it again under another number: numbers may have gaps,
and each release that nothing points to stays in the lake as it is. A rerun after 5 ends at 1. What is refused, or
fails, is recorded as that.
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Mapping, Sequence
from importlib.metadata import version as installed
from typing import Any

from cloakhouse.contracts.model import ColumnClass, Contract
from cloakhouse.contracts.parser import load_contracts
from cloakhouse.errors import CloakhouseError, IntegrityError
from cloakhouse.keys.files import locked
from cloakhouse.keys.protocol import FOOTER, master_key, zone_key
from cloakhouse.lake.parquet import FileEntry, TableStore
from cloakhouse.lake.releases import SIGNER, Release, write_release
from cloakhouse.lake.store.opening import open_store
from cloakhouse.ledger.audit_event import Action, Event
from cloakhouse.ledger.audited_keys import open_ring
from cloakhouse.ledger.catalogue import ManifestRef
from cloakhouse.ledger.run_names import name_of, run_name
from cloakhouse.ledger.versions import DatasetVersion, VersionRegister
from cloakhouse.progress import Progress
from cloakhouse.settings import Settings
from cloakhouse.stages.access_apply import share_missing
from cloakhouse.stages.approving import require_approved
from cloakhouse.stages.auditing import event, failures_recorded
from cloakhouse.stages.erased_runs import erasure_told
from cloakhouse.stages.pinning import Pinned, require_unchanged
from cloakhouse.stages.residency import check_residency, residency_of
from cloakhouse.stages.signing import signing_key
from cloakhouse.stages.sources import file_entries
from cloakhouse.stages.version_checks import check_register
from cloakhouse.tokens.apply import TREATMENTS_VERSION
from cloakhouse.tokens.canonical import NORMALISATION_VERSION

LOCK_WAIT_S = 600.0


def make_visible(
    settings: Settings, contract: Contract, zone: str, content: Mapping[str, Any], progress: Progress
) -> DatasetVersion:
    """Make the dataset that `content` describes a version of `contract` in `zone`, and return it: steps 1 to 5.

    `content` has the fields fingerprint, contract, columns (name, type, class), files, rows, parents, evidence, source
    (references) and card. Raises VersionWithdrawn, VersionGone, StageError (`stage.overtaken`), IntegrityError,
    KeyServiceError, AccessRefused, StorageError.
    """
    register, store = VersionRegister(settings.database), open_store(settings)
    lock, by = settings.home / "locks" / f"{contract.name}.lock", publishing(settings, contract, content["evidence"])
    with locked(lock, LOCK_WAIT_S, f"publishing {contract.name}"), failures_recorded(settings, by):
        check_residency(settings, contract, zone)
        version = _standing(register, register.published(contract.name, content["fingerprint"]))  # 1
        if version is None:
            require_unchanged(settings, contract, load_contracts(settings.contracts), Pinned.of(content))
            require_approved(settings, contract, ManifestRef.of(content["evidence"]))
            ring = open_ring(settings)
            tables = TableStore(store, ring)
            refs = [ManifestRef.of(content[name]) for name in ("evidence", "source")]
            with erasure_told(settings, contract.name, refs, content["files"]):
                for entry in file_entries(content["files"]):  # 2
                    _check_classes(entry, tables.layout(entry)[1], content["columns"])
            signer = signing_key(settings, SIGNER)  # one that doesn't open takes no number
            check_register(store, register, contract.name)  # 3
            number = register.reserve(contract.name, content["fingerprint"])
            if isinstance(number, int):
                release = _release(settings, contract, zone, number, content, ring.service.uri)
                ref = write_release(store, signer, release)  # 4
                number = register.publish(_row(release, ref), by)  # 5
            version = _standing(register, number)
            assert version is not None
    _share(settings, progress)
    progress.finish(f"{version.name} published, {version.rows:,} rows", version=version.version, rows=version.rows)
    return version


def publishing(settings: Settings, contract: Contract, evidence: Mapping[str, str]) -> Event:
    """Return the event of publishing what `evidence` (a reference) validated. Raises AccessRefused, KeyServiceError."""
    facts = {"evidence": evidence["sha256"], "contract": contract.version}
    return event(settings, Action.PUBLISH, contract.name, dataset=contract.name, facts=facts)


def _check_classes(entry: FileEntry, found: Mapping[str, ColumnClass], columns: Sequence[Mapping[str, str]]) -> None:
    if {name: one.value for name, one in found.items()} != {column["name"]: column["class"] for column in columns}:
        raise IntegrityError(
            where=entry.path,
            expected="the columns of the release, each of its class",
            found="others, or of other classes",
            not_done="nothing was published",
            remedy="run the DAG again: it makes the files and what lists them anew",
        )


def _share(settings: Settings, progress: Progress) -> None:
    """Have roles that may read this dataset alone open it. The version stands without it: `access apply` repeats it."""
    if settings.policy.is_file():
        try:
            share_missing(settings)
        except CloakhouseError as problem:
            progress.trouble(problem.explain())


def _standing(register: VersionRegister, version: DatasetVersion | None) -> DatasetVersion | None:
    """Return `version` if it is published. Raises VersionWithdrawn, VersionGone."""
    if version is not None and (refusal := register.refusal(version)):
        raise refusal
    return version


def _release(
    settings: Settings, contract: Contract, zone: str, number: int, content: Mapping[str, Any], service: str
) -> Release:
    columns = [{**column, "key": master_key(zone, ColumnClass(column["class"]))} for column in content["columns"]]
    keys = sorted({zone_key(zone, FOOTER), *(column["key"] for column in columns)})
    return Release(
        dataset=contract.name,
        version=number,
        zone=zone,
        published_at=dt.datetime.now(dt.UTC),
        fingerprint=content["fingerprint"],
        contract=content["contract"],
        columns=tuple(columns),
        files=file_entries(content["files"]),
        rows=content["rows"],
        keys=tuple(f"{service}#{key}" for key in keys),
        treatments=_treatments(settings, list(content["parents"])),
        parents=content["parents"],
        run=current_run(),
        evidence=ManifestRef.of(content["evidence"]),
        source=ManifestRef.of(content["source"]),
        code={"cloakhouse": installed("cloakhouse")},
        card={**content["card"], **residency_of(contract, zone)},
    )


def _row(release: Release, ref: ManifestRef) -> DatasetVersion:
    return DatasetVersion(
        release.dataset,
        release.version,
        release.fingerprint,
        release.zone,
        release.rows,
        ref,
        release.published_at,
    )


def current_run(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return `dag` and `run` of the Airflow task that this process is (default environment), empty outside of one.

    Names of another form than Airflow gives are told by their digest."""
    env = os.environ if environment is None else environment
    return {
        "dag": name_of(env.get("AIRFLOW_CTX_DAG_ID", "")),
        "run": run_name(env.get("AIRFLOW_CTX_DAG_RUN_ID", "")),
    }


def _treatments(settings: Settings, sources: Sequence[str]) -> dict[str, Any]:
    """Return what the contracts in force do to the columns of the sources."""
    contracts = load_contracts(settings.contracts)
    return {
        source: {
            "contract": {"version": contracts[source].version, "digest": contracts[source].digest},
            "treatments": TREATMENTS_VERSION,
            "normalisation": NORMALISATION_VERSION,
            "columns": {column.name: column.treatment.name for column in contracts[source].columns},
        }
        for source in sources
        if source in contracts
    }
