"""Synthesize: derive the view, split off the hold-out, fit, sample, write encrypted. One synthetic dataset a call.

1. the sources are pinned: the manifests of their validated partitions;
2. the fingerprint of pins, contract, engine and code says whether this dataset was already made;
3. the view is derived and split by whole units of privacy; a hold-out too small for the gate stops here;
4. training rows and hold-out are written encrypted for the validation, in the zone `views`, under names of
   this run's own, so that a run beside it can't replace what was validated or published;
5. the engine is fitted on the training rows, samples, and is discarded; nothing fitted is stored.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import pyarrow as pa

from cloakhouse.contracts.model import Contract, Gate, Synthesis, content_digest
from cloakhouse.contracts.parser import load_contracts
from cloakhouse.errors import ConfigurationError, ValidationRefused
from cloakhouse.keys.service import open_ring
from cloakhouse.lake.manifests import write_manifest
from cloakhouse.lake.parquet import TableStore
from cloakhouse.ledger.catalogue import Catalogue, ManifestRef, ProtectedPartition
from cloakhouse.progress import Progress
from cloakhouse.settings import Settings
from cloakhouse.stages.sources import as_refs, current_partitions, read_partitions
from cloakhouse.synthesis.derive import TYPES, build_view, needed_columns
from cloakhouse.synthesis.protocol import CATEGORICAL, Synthesizer, ViewColumn, open_synthesizer
from cloakhouse.synthesis.split import Split, split_units
from cloakhouse.tokens.apply import TREATMENTS_VERSION
from cloakhouse.tokens.canonical import NORMALISATION_VERSION

KIND = "synthesis"
Pins = dict[str, list[ProtectedPartition]]


@dataclass(frozen=True)
class _Plan:
    """What is going to be made: the contract's parts, the pinned sources and the fingerprint."""

    contract: Contract
    synthesis: Synthesis
    gate: Gate
    pins: Pins
    fingerprint: str


def synthesize(settings: Settings, contract: Contract) -> ManifestRef | None:
    """Make the synthetic dataset of `contract` and return its manifest; None when it is published already.

    Raises NotFound when a source has no validated partition, ValidationRefused when the hold-out is too
    small, IntegrityError, KeyServiceError, StorageError.
    """
    progress = Progress.of("synthesize", contract.name)
    catalogue = Catalogue(settings.database)
    catalogue.register_contract(contract)
    plan = _plan(settings, contract, catalogue)
    if catalogue.published(contract.name, plan.fingerprint):
        progress.finish("up to date: these inputs are published already", rows=0)
        return None
    store = TableStore(settings.lake, open_ring(settings))
    split = _split(settings, store, plan)
    engine = open_synthesizer(contract, _columns(plan))
    progress.step(0, split.training.num_rows, "rows fitted")
    engine.fit(split.training)
    rows = plan.synthesis.rows or split.training.num_rows
    table = engine.sample(rows, progress.step)
    manifest = _write(settings, store, plan, split, engine, table)
    progress.finish(
        f"{table.num_rows:,} rows by {plan.synthesis.engine} from {split.training.num_rows:,} of "
        f"{split.training_units:,} {contract.unit_of_privacy}s",
        rows=table.num_rows,
        training_rows=split.training.num_rows,
        training_units=split.training_units,
    )
    return manifest


def _plan(settings: Settings, contract: Contract, catalogue: Catalogue) -> _Plan:
    if contract.synthesis is None or contract.gate is None:
        raise ConfigurationError(
            where=f"contract {contract.name}",
            expected="a synthetic dataset",
            found="a feed",
            not_done="nothing was synthesized",
            remedy="name a dataset whose contract has `synthesis` and `gate`",
        )
    contracts = load_contracts(settings.contracts)
    pins = {name: current_partitions(catalogue, contracts[name]) for name in contract.sources}
    fingerprint = content_digest(
        {
            "contract": contract.digest,
            "code": version("cloakhouse"),
            "sdv": version("sdv"),
            "treatments": [TREATMENTS_VERSION, NORMALISATION_VERSION],
            "sources": {name: [_content(p) for p in partitions] for name, partitions in pins.items()},
        }
    )
    return _Plan(contract, contract.synthesis, contract.gate, pins, fingerprint)


def _content(partition: ProtectedPartition) -> list[str | int]:
    """Return what a partition's rows follow from; its files are new whenever it is pseudonymized again."""
    made_from = [partition.partition, partition.delivery_sha256, partition.contract_version]
    return [*made_from, partition.rows, partition.quarantined]


def _columns(plan: _Plan) -> tuple[ViewColumn, ...]:
    return tuple(
        ViewColumn(m.name, TYPES[plan.contract.column(m.name).logical_type], m.kind in CATEGORICAL, m.cap)
        for m in plan.synthesis.view.measures
    )


def _split(settings: Settings, store: TableStore, plan: _Plan) -> Split:
    view = plan.synthesis.view
    source = load_contracts(settings.contracts)[view.source]
    wanted = needed_columns(view, [column.name for column in source.kept_columns])
    tables = {
        lookup.dataset: pa.concat_tables(
            read_partitions(settings, store, plan.pins[lookup.dataset], [lookup.on, *lookup.columns])
        )
        for lookup in view.lookups
    }
    lines = read_partitions(settings, store, plan.pins[view.source], wanted)
    derived = build_view(view, plan.contract.columns, lines, tables)
    categorical = [column.name for column in _columns(plan) if column.categorical]
    split = split_units(
        derived, plan.synthesis.holdout_share, plan.synthesis.max_training_rows, categorical, plan.gate.min_k
    )
    if split.holdout_units < plan.gate.min_holdout_units:
        raise ValidationRefused(
            where=f"synthetic dataset {plan.contract.name}",
            expected=f"a hold-out of at least {plan.gate.min_holdout_units} {plan.contract.unit_of_privacy}s",
            found=f"{split.holdout_units}",
            not_done="nothing was fitted, sampled or published",
            remedy="land more partitions; a smaller hold-out could not show a leak",
            code="holdout",
        )
    return split


def _write(
    settings: Settings, store: TableStore, plan: _Plan, split: Split, engine: Synthesizer, table: pa.Table
) -> ManifestRef:
    name, short = plan.contract.name, f"{plan.fingerprint[:12]}-{secrets.token_hex(4)}"
    classes = {column.name: column.column_class for column in plan.contract.columns}
    training = store.write(f"views/{name}/{short}/training.parquet", split.training, classes)
    holdout = store.write(f"views/{name}/{short}/holdout.parquet", split.holdout, classes)
    synthetic = store.write(f"synthetic/{name}/{short}/part-00000.parquet", table, classes)
    content: dict[str, Any] = {
        "dataset": name,
        "fingerprint": plan.fingerprint,
        "contract": {"version": plan.contract.version, "digest": plan.contract.digest},
        "code": version("cloakhouse"),
        "engine": engine.describe(),
        "unit_of_privacy": plan.contract.unit_of_privacy,
        "sources": {source: as_refs(partitions) for source, partitions in plan.pins.items()},
        "training": {"rows": split.training.num_rows, "units": split.training_units, "file": training.as_dict()},
        "holdout": {"rows": split.holdout.num_rows, "units": split.holdout_units, "file": holdout.as_dict()},
        "suppressed_rows": split.suppressed_rows,
        "rows": table.num_rows,
        "columns": [
            {"name": c.name, "type": c.logical_type, "class": c.column_class.value} for c in plan.contract.columns
        ],
        "files": [synthetic.as_dict()],
    }
    return write_manifest(settings.lake, f"synthetic/{name}", KIND, content)
