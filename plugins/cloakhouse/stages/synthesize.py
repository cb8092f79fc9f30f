"""Synthesize: derive the view, split off the hold-out, fit, sample, write encrypted. One synthetic dataset a call.

`plan` pins what the dataset is made of, and whom it may be made of (`cloakhouse.stages.pinning`), and writes a request;
`run` does it, in this process or on Spark's workers:

1. the fingerprint of pins, contract, engine and code says whether this dataset was already made;
2. what is going to be read, and by whom, is recorded (`cloakhouse.stages.reads`);
3. rows of persons who don't allow the use, or were erased, are left out of everything that is read; the view is derived
   and split by whole units of privacy; a hold-out too small for the gate stops here
   (`cloakhouse.stages.views`);
4. training rows and hold-out are written encrypted for the validation, in the zone `views`, under names of this run's
   own, so that a run beside it can't replace what was validated or published;
5. the engine is fitted on the training rows; what it spends of the privacy budget is reserved before and committed
   after the sealed model stands (`cloakhouse.stages.fitting`);
6. the model is sampled in chunks by the workers, each of which writes a file of its own; files that a lost attempt
   left are removed, and so are all rows of a run that was refused or killed (`cloakhouse.stages.leftovers`).
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from cloakhouse.contracts.model import Contract, Synthesis, content_digest
from cloakhouse.contracts.parser import load_contracts
from cloakhouse.errors import ConfigurationError, StageError
from cloakhouse.keys.dataset_keys import DatasetKey
from cloakhouse.keys.files import locked
from cloakhouse.keys.protocol import FILE
from cloakhouse.lake.manifests import read_manifest, write_manifest
from cloakhouse.lake.parquet import TableStore
from cloakhouse.lake.store.opening import open_store
from cloakhouse.ledger.audit_event import Action, Event
from cloakhouse.ledger.audited_keys import open_ring
from cloakhouse.ledger.catalogue import Catalogue, ManifestRef, ProtectedPartition
from cloakhouse.ledger.versions import VersionRegister
from cloakhouse.progress import Progress
from cloakhouse.settings import Settings
from cloakhouse.stages.auditing import event, failures_recorded, leased, record
from cloakhouse.stages.fitting import Fitted, fitted
from cloakhouse.stages.gate import attack_columns, check_risks
from cloakhouse.stages.leftovers import none_left
from cloakhouse.stages.pinning import Pinned, pin
from cloakhouse.stages.reads import keys_of, reads, view_keys
from cloakhouse.stages.residency import check_residency, check_residency_of
from cloakhouse.stages.sampling import Sampled, sampled
from cloakhouse.stages.sieve_lists import sieves
from cloakhouse.stages.sources import as_refs, current_partitions
from cloakhouse.stages.spending import charges
from cloakhouse.stages.views import ShardFiles, Views, write_views
from cloakhouse.stages.workers import LocalWorkers, Workers
from cloakhouse.synthesis.derive import view_columns
from cloakhouse.synthesis.protocol import Plan, engine
from cloakhouse.tokens.apply import TREATMENTS_VERSION
from cloakhouse.tokens.canonical import NORMALISATION_VERSION

KIND = "synthesis"
REQUEST = "synthesis-request"
LOCK_WAIT_S = 3600.0


@dataclass(frozen=True)
class _Work:
    """What is going to be made: the contracts, the pinned sources and the fingerprint."""

    contracts: Mapping[str, Contract]
    contract: Contract
    synthesis: Synthesis
    pins: dict[str, list[ProtectedPartition]]
    rights: Pinned
    fingerprint: str

    @property
    def plan(self) -> Plan:
        return plan_of(self.contract)


def plan_of(contract: Contract) -> Plan:
    """Return what the engine of a synthetic dataset is asked for. Raises ConfigurationError for a feed."""
    synthesis = _synthesis(contract)
    return Plan(
        columns=view_columns(synthesis, contract.columns),
        seed=synthesis.seed,
        privacy=synthesis.privacy,
        parameters=synthesis.parameters,
        spare_rows=synthesis.max_training_rows,
        unit_of_privacy=contract.unit_of_privacy,
    )


def plan(settings: Settings, contract: Contract) -> ManifestRef | None:
    """Return the request for the synthetic dataset of `contract`, None when these inputs are published already.

    Raises ContractError for what the engine can't do and for a guarantee that no source has a budget for, NotFound when
    a source has no validated partition.
    """
    catalogue = Catalogue(settings.database)
    catalogue.register_contract(contract)
    work = _work(settings, contract, catalogue, None)
    assert contract.gate is not None
    check_risks(contract.name, contract.gate, attack_columns(contract))
    engine(work.synthesis.engine).check(work.plan)
    if work.synthesis.privacy is not None:  # refuses where no source has a budget
        charges(work.contracts, contract.sources, contract.unit_of_privacy, work.synthesis.privacy.consumer)
    if VersionRegister(settings.database).published(contract.name, work.fingerprint):
        Progress.of("synthesize", contract.name).finish("up to date: these inputs are published already", rows=0)
        return None
    content = {
        "dataset": contract.name,
        "fingerprint": work.fingerprint,
        "contract": {"version": contract.version, "digest": contract.digest},
        "sources": {source: as_refs(partitions) for source, partitions in work.pins.items()},
        "rights": work.rights.as_dict(),
    }
    return write_manifest(open_store(settings), f"synthetic/{contract.name}", REQUEST, content)


def run(settings: Settings, request: ManifestRef, workers: Workers) -> ManifestRef:
    """Do what `request` asks for and return the manifest of the synthetic dataset, which waits for its validation.

    Raises StageError when the sources, the contract, or who may be used changed since, BudgetExhausted,
    ValidationRefused when the hold-out is too small, ContractError, IntegrityError, KeyServiceError, StorageError.
    """
    content = read_manifest(open_store(settings), request, REQUEST)
    contract = load_contracts(settings.contracts)[content["dataset"]]
    progress = Progress.of("synthesize", contract.name)
    catalogue = Catalogue(settings.database)
    catalogue.register_contract(contract)
    work = _work(settings, contract, catalogue, Pinned.of(content))
    if work.fingerprint != content["fingerprint"]:
        raise _overtaken(contract)
    lock = settings.home / "locks" / f"{contract.name}-synthesis.lock"
    facts = {"fingerprint": work.fingerprint, "request": request.sha256}
    by = event(settings, Action.SYNTHESIZE, contract.name, dataset=contract.name, facts=facts)
    with locked(lock, LOCK_WAIT_S, f"synthesizing {contract.name}"), failures_recorded(settings, by):
        check_residency(settings, contract, "views", "synthetic")
        check_residency_of(settings, contract.sources, "protected")
        passing = sieves(settings, contract, work.contracts, work.rights)
        _record(settings, work, by)
        name, short = contract.name, f"{work.fingerprint[:12]}-{secrets.token_hex(4)}"
        with none_left(open_store(settings), name, short):
            store = TableStore(open_store(settings), open_ring(settings))
            folder = f"views/{name}/{short}"
            views = write_views(settings, store, work.contracts, contract, work.pins, folder, passing)
            shards = ShardFiles(settings, workers, views.training, work.synthesis.max_training_rows, progress.step)
            model = fitted(settings, contract, work.plan, work.fingerprint, shards, progress)
            table = sampled(settings, contract, work.plan, model, f"synthetic/{name}/{short}", workers, progress)
            manifest = _write(settings, work, views, model, table)
    progress.finish(
        f"{table.rows:,} rows by {work.synthesis.engine} from {views.training.rows:,} of "
        f"{views.training.units:,} {contract.unit_of_privacy}s",
        rows=table.rows,
        training_rows=views.training.rows,
        training_units=views.training.units,
    )
    return manifest


def _record(settings: Settings, work: _Work, by: Event) -> None:
    """Record that the dataset is going to be made, what is read for it, and which keys the workers may open."""
    contract = work.contract
    keys = [*view_keys(work.contracts, contract), *keys_of("synthetic", contract)]
    leased(settings, [*keys, DatasetKey("synthetic", FILE, contract.name)], f"synthesize {contract.name}")
    record(settings, by, *reads(by, work.pins, f"synthesis of {contract.name}"))


def synthesize(settings: Settings, contract: Contract, workers: Workers | None = None) -> ManifestRef | None:
    """Plan and run in one call, in this process unless `workers` says otherwise. Returns and raises as these do."""
    request = plan(settings, contract)
    return None if request is None else run(settings, request, workers or LocalWorkers())


def _synthesis(contract: Contract) -> Synthesis:
    if contract.synthesis is None or contract.gate is None:
        raise ConfigurationError(
            where=f"contract {contract.name}",
            expected="a synthetic dataset",
            found="a feed",
            not_done="nothing was synthesized",
            remedy="name a dataset whose contract has `synthesis` and `gate`",
        )
    return contract.synthesis


def _work(settings: Settings, contract: Contract, catalogue: Catalogue, rights: Pinned | None) -> _Work:
    """Return what is going to be made; `rights` are those of the request, None: those of now."""
    synthesis = _synthesis(contract)
    contracts = load_contracts(settings.contracts)
    pins = {name: current_partitions(catalogue, contracts[name]) for name in contract.sources}
    if newest := synthesis.view.newest:
        pins[synthesis.view.source] = pins[synthesis.view.source][-newest:]
    rights = rights or pin(settings, contract, contracts)
    fingerprint = content_digest(
        {
            "contract": contract.digest,
            "code": version("cloakhouse"),
            "sdv": version("sdv"),
            "opendp": version("opendp"),
            "treatments": [TREATMENTS_VERSION, NORMALISATION_VERSION],
            "sources": {name: [_content(p) for p in partitions] for name, partitions in pins.items()},
            "rights": rights.made_from,
        }
    )
    return _Work(contracts, contract, synthesis, pins, rights, fingerprint)


def _content(partition: ProtectedPartition) -> list[str | int]:
    """Return what a partition's rows follow from; its files are new whenever it is pseudonymized again."""
    made_from = [partition.partition, partition.delivery_sha256, partition.contract_version]
    return [*made_from, partition.rows, partition.quarantined]


def _overtaken(contract: Contract) -> StageError:
    return StageError(
        where=f"synthetic dataset {contract.name}",
        expected="the sources and the contract of the request",
        found="others: a source was validated again, or the contract changed",
        not_done="nothing was fitted or sampled",
        remedy="run the DAG again: it plans anew",
        code="overtaken",
    )


def _write(settings: Settings, work: _Work, views: Views, model: Fitted, table: Sampled) -> ManifestRef:
    contract = work.contract
    content: dict[str, Any] = {
        "dataset": contract.name,
        "fingerprint": work.fingerprint,
        "contract": {"version": contract.version, "digest": contract.digest},
        "code": version("cloakhouse"),
        "engine": model.model.describe(),
        "model": model.file.as_dict(),
        "spend": model.spend,
        "unit_of_privacy": contract.unit_of_privacy,
        "sources": {source: as_refs(partitions) for source, partitions in work.pins.items()},
        "rights": work.rights.as_dict(),
        "training": views.training.as_dict(),
        "holdout": views.holdout.as_dict(),
        "suppressed_rows": views.suppressed_rows,
        "rows": table.rows,
        "columns": [{"name": c.name, "type": c.logical_type, "class": c.column_class.value} for c in contract.columns],
        "chunks": table.chunks,
        "files": [entry.as_dict() for entry in table.files],
    }
    return write_manifest(open_store(settings), f"synthetic/{contract.name}", KIND, content)
