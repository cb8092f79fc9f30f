"""What an erasure would do, counted exactly and without doing it: lines, rows, versions and models, place by place.

The counts come from the functions that erase: whose a landed or quarantined line is, which rows of a protected file go,
which versions were made from them. So a dry run reads all that the erasure reads, records the use of the keys for it,
and changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from cloakhouse.contracts.model import Contract, Kind
from cloakhouse.contracts.parser import load_contracts
from cloakhouse.lake.landed import LandedObject, opened
from cloakhouse.lake.manifests import read_manifest
from cloakhouse.lake.parquet import TableStore
from cloakhouse.lake.recut import rows_going
from cloakhouse.lake.store.opening import open_store
from cloakhouse.ledger.audited_keys import open_ring
from cloakhouse.ledger.catalogue import Catalogue, Delivery, ProtectedPartition
from cloakhouse.ledger.subject_holds import SubjectHolds
from cloakhouse.ledger.versions import DatasetVersion, VersionState
from cloakhouse.settings import Settings
from cloakhouse.stages.cutting import FILES, QUARANTINE, subject_rows
from cloakhouse.stages.derived import Trace, traces
from cloakhouse.stages.derived_runs import Run
from cloakhouse.stages.erase_landed import feeds_of_persons
from cloakhouse.stages.erase_quarantine import quarantine_rows
from cloakhouse.stages.erasure_batch import Batch
from cloakhouse.stages.landed_lines import header_of, line_blocks, plaintext
from cloakhouse.stages.raw_fields import RawFields
from cloakhouse.stages.raw_subjects import RawSubjects
from cloakhouse.stages.sources import PROTECTED, file_entries
from cloakhouse.stages.token_roots import token_keys

FITTED = "yes"
STAYS = "no: its guarantee is strong enough, the model stays"  # decision record 40
NEWER = "no: a newer version stands"
UNPUBLISHED = "no: its version is not published"
NO_CONTRACT = "no: no contract asks for it"
ASKED_FOR = "no: an approver has to agree, by its DAG"


@dataclass(frozen=True)
class Affected:
    """What of one place would go.

    Attributes:
        zone: `landing`, `protected`, `quarantine`; of derived data what goes: `version`, `stays`, `run`; and `model`,
            the synthesizer of a version or of an unpublished run.
        name: the partition, with the revision of a landed one (`2016-12-26/1`); the version (`baskets@3`).
        rows: lines or rows that go, files of a run that go; of a version that it has.
        kept: lines that name somebody under a hold as well, and stay.
        engine: of a model.
        refit: of a model, whether another is fitted in its place: FITTED, or why not.
    """

    dataset: str
    zone: str
    name: str
    rows: int
    kept: int = 0
    engine: str = ""
    refit: str = ""


def preview(settings: Settings, batch: Batch) -> list[Affected]:
    """Return what the erasure of `batch`, which needn't be requested, would cut, withdraw and delete, place by place.

    Raises IntegrityError, KeyServiceError, AccessRefused, StorageError.
    """
    catalogue, held = Catalogue(settings.database), SubjectHolds(settings.database).held()
    sources: list[Affected] = []
    for contract in feeds_of_persons(settings):
        subjects = RawSubjects.of(contract, token_keys(settings), batch.rights, held, batch.names)
        for revisions in catalogue.deliveries(contract.name).values():
            sources += [_landed(settings, contract, subjects, d) for d in revisions if d.expired_at is None]
        for partition in catalogue.protected(contract.name).values():
            sources += _protected(settings, contract, subjects, batch.rights, partition)
    touched: dict[str, list[str]] = {}
    for one in sources:
        if one.zone == PROTECTED and one.rows:
            touched.setdefault(one.dataset, []).append(one.name)
    return [*(one for one in sources if one.rows or one.kept), *_derived(settings, touched, batch.rights)]


def _landed(settings: Settings, contract: Contract, subjects: RawSubjects, delivery: Delivery) -> Affected:
    """Count the lines of one landed file as `cloakhouse.stages.cut_landed` does."""
    feed, store = contract.feed, open_store(settings)
    assert feed is not None
    content = read_manifest(store, delivery.manifest, "delivery")
    goes = kept = 0
    with opened(store, LandedObject(contract.name, delivery.partition, content["object"]), open_ring(settings)) as raw:
        plain = plaintext(raw, feed)
        names = tuple(column.name for column in subjects.columns)
        fields = RawFields(contract, feed, names, header_of(plain, feed))
        for block in line_blocks(plain):
            whose = subjects.whose(fields.read(block))
            goes, kept = goes + int(whose.goes.sum()), kept + whose.kept
    return Affected(contract.name, "landing", f"{delivery.partition}/{delivery.revision}", goes, kept)


def _protected(
    settings: Settings, contract: Contract, subjects: RawSubjects, persons: pa.Array, partition: ProtectedPartition
) -> Iterator[Affected]:
    """Yield the rows of one protected partition that go, and those of its quarantine."""
    store = open_store(settings)
    tables, content = TableStore(store, open_ring(settings)), read_manifest(store, partition.manifest, PROTECTED)
    column, going = subject_rows(settings, contract, persons)
    parts = (
        (PROTECTED, FILES, [column], going),
        (QUARANTINE, QUARANTINE, *quarantine_rows(settings, contract, partition, subjects)),
    )
    for zone, listed, columns, goes in parts:
        rows = sum(rows_going(tables, entry, columns, goes) for entry in file_entries(content[listed]))
        yield Affected(contract.name, zone, partition.partition, rows)


def _derived(settings: Settings, touched: dict[str, list[str]], persons: pa.Array) -> Iterator[Affected]:
    """Yield the versions that would be withdrawn and deleted, those that may stand, and the runs that would go."""
    for trace in traces(settings, touched, persons):
        for version, _ in trace.versions:
            yield Affected(trace.dataset, "version", version.name, version.rows)
        for version in trace.kept:
            yield Affected(trace.dataset, "stays", version.name, version.rows)
        yield from _models(trace, load_contracts(settings.contracts).get(trace.dataset))
        for run in trace.runs:
            yield Affected(trace.dataset, "run", run.fingerprint[:12], len(run.views) + len(run.files))
        for run in trace.bare:  # of a version that stays the views go alone
            yield Affected(trace.dataset, "run", run.fingerprint[:12], len(run.views))


def _models(trace: Trace, contract: Contract | None) -> Iterator[Affected]:
    """Yield the synthesizers that were fitted on rows of the persons: of versions that go or stay, then of runs.

    Whether one is fitted anew is as `cloakhouse.stages.erase_derived` and what follows it decide: in the place of the
    newest published version, where a contract asks for the dataset and no approver is asked. A budget that is used up
    or a gate that isn't passed may still refuse it: that shows when it is tried.
    """
    runs = {run.manifest.path: run for run in (*trace.runs, *trace.bare) if "training" in run.content}
    newest = trace.published[-1] if trace.newest else None
    for version, release in trace.versions:
        run = runs.pop(release.source.path, None)
        if run is not None:
            yield Affected(trace.dataset, "model", version.name, 1, 0, _engine(run), _refit(version, newest, contract))
    staying = {run.manifest.path for run in trace.bare}
    for path, run in runs.items():
        refit = STAYS if path in staying else UNPUBLISHED
        yield Affected(trace.dataset, "model", run.fingerprint[:12], int(path not in staying), 0, _engine(run), refit)


def _refit(version: DatasetVersion, newest: DatasetVersion | None, contract: Contract | None) -> str:
    if version.state is not VersionState.PUBLISHED:
        return UNPUBLISHED
    if version != newest:
        return NEWER
    if contract is None or contract.kind is Kind.FEED:
        return NO_CONTRACT
    return FITTED if contract.approval is None else ASKED_FOR


def _engine(run: Run) -> str:
    return str(run.content["engine"]["engine"])
