"""Validate a synthetic dataset: suite, attacks, utility and gate, answered with evidence that holds no values.

1. the rows are those of the contract in force;
2. the suite of `expectations/` is asked, file by file, with two columns that mark exact copies;
3. the attacks (`cloakhouse.privacy.attacks`) compare the training rows with the hold-out, by row and by unit;
4. of a release with a guarantee, the account of its noise is done again from the model and the training rows
   (`cloakhouse.stages.guarantees`);
5. the figures are compared with the thresholds (`cloakhouse.stages.gate`), and utility is measured;
6. evidence is written whatever came out; only evidence that passed can be published.

Before rows are read, that is recorded; the outcome is, with the digest of the evidence, before anybody is given it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from cloakhouse.contracts.model import Contract, Gate
from cloakhouse.contracts.parser import load_contracts
from cloakhouse.errors import ValidationRefused
from cloakhouse.keys.files import locked
from cloakhouse.lake.manifests import read_manifest, write_manifest
from cloakhouse.lake.parquet import FileEntry, TableStore
from cloakhouse.lake.store.opening import open_store
from cloakhouse.ledger.audit_event import REFUSED, Action, Event
from cloakhouse.ledger.audited_keys import open_ring
from cloakhouse.ledger.catalogue import ManifestRef
from cloakhouse.privacy.attacks.battery import attack
from cloakhouse.privacy.attacks.population import Population, Risk
from cloakhouse.privacy.copies import CopyExcess, copy_excess, copy_matches
from cloakhouse.progress import Progress
from cloakhouse.quality.runner import run_suite
from cloakhouse.quality.suites import load_suite
from cloakhouse.quality.utility.columns import UtilityColumn
from cloakhouse.quality.utility.report import utility
from cloakhouse.settings import Settings
from cloakhouse.stages.anonymity import Anonymity, anonymity
from cloakhouse.stages.auditing import event, failures_recorded, leased, record
from cloakhouse.stages.erased_runs import erasure_told
from cloakhouse.stages.gate import Figure, attack_columns, risk_figures, sentence
from cloakhouse.stages.gate import table as figure_table
from cloakhouse.stages.guarantees import guaranteed
from cloakhouse.stages.reads import read_of, view_keys
from cloakhouse.stages.residency import check_residency, check_residency_of
from cloakhouse.stages.sources import file_entries, partition_files
from cloakhouse.stages.synthesize import plan_of
from cloakhouse.stages.validate import KIND, failures, refused
from cloakhouse.stages.views import Side, read_side, unit_numbers
from cloakhouse.synthesis.protocol import GROUP, UNIT, ViewColumn

LOCK_WAIT_S = 3600.0  # another validation, or an erasure, may take that long
ATTACKED_ROWS = 250_000  # synthetic rows that are attacked: whole files, at least one


@dataclass(frozen=True)
class _Release:
    """What is validated: the manifest of the synthesis, its rows, and both sides of the training view."""

    content: dict[str, Any]
    columns: tuple[ViewColumn, ...]
    files: tuple[FileEntry, ...]
    synthetic: pa.Table
    training: Population
    holdout: Population


def validate_synthetic(settings: Settings, contract: Contract, synthesis: ManifestRef) -> ManifestRef:
    """Validate a synthetic dataset against suite and gate, and return the evidence, passed.

    Raises ValidationRefused when it did not pass; the evidence is written all the same, and publication refuses it.
    Raises StageError: `stage.overtaken` for a run that an erasure took, `stage.busy` while another is validated.
    """
    facts = {"synthesis": synthesis.sha256}
    by = event(settings, Action.VALIDATE, contract.name, dataset=contract.name, facts=facts)
    with failures_recorded(settings, by):
        check_residency(settings, contract, "views", "synthetic")
        check_residency_of(settings, contract.sources, "protected")
        lock = settings.locks / f"{contract.name}-validation.lock"  # an erasure takes run and evidence together
        with locked(lock, LOCK_WAIT_S, f"validating {contract.name}"):
            with erasure_told(settings, contract.name, [synthesis]):
                content = read_manifest(open_store(settings), synthesis, "synthesis")
            with erasure_told(settings, contract.name, [synthesis], _files(content)):
                evidence, problems = _validated(settings, contract, content, synthesis, by)
    described = replace(by, count=content["rows"], facts={**facts, "evidence": evidence.sha256})
    if problems:
        record(settings, replace(described, decision=REFUSED, code="validation.failed"))
        raise refused(f"synthetic dataset {contract.name}", problems, evidence)
    record(settings, described)
    return evidence


def _validated(
    settings: Settings, contract: Contract, content: dict[str, Any], synthesis: ManifestRef, by: Event
) -> tuple[ManifestRef, list[str]]:
    """Return the evidence, and what did not pass."""
    gate = contract.gate
    assert gate is not None
    progress = Progress.of("validate", contract.name)
    _require_current(contract, content)
    record(settings, *_reads(settings, by, contract, gate, content))
    if contract.synthesis is not None and contract.synthesis.privacy is not None:  # whose shards are counted again
        leased(settings, view_keys(load_contracts(settings.contracts), contract), f"validate {contract.name}")
    suite = load_suite(settings.expectations, contract.name, contract.version)
    store = TableStore(open_store(settings), open_ring(settings))
    release = _release(settings, store, contract, content)
    result = run_suite(suite.body, _marked(store, release))
    copies = copy_excess(
        release.synthetic, release.training.table, release.holdout.table, [c.name for c in release.columns]
    )
    risks = _attacked(contract, release, progress)
    promise = guaranteed(settings, contract, content, release.synthetic, progress)
    source = load_contracts(settings.contracts)[gate.k_dataset]
    protected = anonymity(settings, store, gate, source, content["sources"][gate.k_dataset])
    figures = (
        *_own_figures(gate, content, copies, protected),
        *risk_figures(gate, attack_columns(contract), risks),
        *promise.figures,
    )
    usefulness = _utility(contract, release, progress)
    passed = result.success and all(figure.passed for figure in figures)
    evidence = write_manifest(
        open_store(settings),
        f"evidence/{contract.name}",
        KIND,
        {
            "dataset": contract.name,
            "contract": {"version": contract.version, "digest": contract.digest},
            "subject": synthesis.as_dict(),
            "suite": {"name": suite.name, "digest": suite.digest},
            "quality": result.as_dict(),
            "copies": copies.as_dict(),
            "anonymity": protected.as_dict(),
            "risks": [risk.as_dict() for risk in risks],
            "utility": usefulness,
            "gate": figure_table(figures),
            "privacy_guarantee": content["engine"]["privacy_guarantee"],
            "account": promise.account,
            "curve": promise.curve,
            "passed": passed,
        },
    )
    if not passed:
        problems = failures(result) + [f"{f.name} = {f.value} against {f.threshold}" for f in figures if not f.passed]
        return evidence, problems
    progress.finish(
        f"{len(result.expectations)} checks and {len(figures)} gate figures passed",
        checks=len(result.expectations),
        passed="yes",
        gate="; ".join(map(sentence, figures)),
    )
    return evidence, []


def _files(content: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the files of a run, as its manifest lists them."""
    return [*content["files"], *(item for side in ("training", "holdout") for item in content[side]["files"])]


def _reads(settings: Settings, by: Event, contract: Contract, gate: Gate, content: dict[str, Any]) -> list[Event]:
    """Return the events of what is read: both sides of the training view, and the dataset that anonymity is of."""
    rows, pins = sum(content[side]["rows"] for side in ("training", "holdout")), content["sources"][gate.k_dataset]
    held = sum(entry.rows for pin in pins for entry in partition_files(settings, ManifestRef.of(pin)))
    return [
        read_of(by, "views", contract.name, 1, rows, "validation"),
        read_of(by, "protected", gate.k_dataset, len(pins), held, f"anonymity of {contract.name}"),
    ]


def _require_current(contract: Contract, content: dict[str, Any]) -> None:
    if content["contract"]["digest"] != contract.digest:
        raise ValidationRefused(
            where=f"synthetic dataset {contract.name}",
            expected=f"rows made under contract {contract.version} as it is now",
            found=f"rows made under version {content['contract']['version']} of another content",
            not_done="nothing was validated or published",
            remedy="run the DAG again: it will synthesize under the contract in force",
            code="contract-moved",
        )


def _release(settings: Settings, store: TableStore, contract: Contract, content: dict[str, Any]) -> _Release:
    files = file_entries(content["files"])
    columns = tuple(column for column in plan_of(contract).columns if column.number is None)
    names = [column.name for column in columns]
    tables: list[pa.Table] = []
    for entry in files:
        if tables and sum(table.num_rows for table in tables) + entry.rows > ATTACKED_ROWS:
            break
        tables.append(store.read(entry, names))
    sides = []
    for side in ("training", "holdout"):
        table = read_side(settings, Side.of(content[side]).files, [*names, *_inner(contract)])
        sides.append(Population(table.select(names), unit_numbers(table)))
    return _Release(content, columns, files, pa.concat_tables(tables), *sides)


def _inner(contract: Contract) -> list[str]:
    assert contract.synthesis is not None
    return [UNIT, GROUP] if contract.synthesis.view.lines else [UNIT]


def _marked(store: TableStore, release: _Release) -> Iterator[pa.Table]:
    """Yield the files of the release with the columns that mark exact copies."""
    names = [column.name for column in release.columns]
    for entry in release.files:
        batch = store.read(entry)
        matches = copy_matches(batch.select(names), release.training.table, release.holdout.table, names)
        for name in matches.column_names:
            batch = batch.append_column(name, matches.column(name))
        yield batch


def _attacked(contract: Contract, release: _Release, progress: Progress) -> tuple[Risk, ...]:
    assert contract.synthesis is not None
    return attack(
        release.synthetic,
        release.training,
        release.holdout,
        attack_columns(contract),
        seed=contract.synthesis.seed,
        report=progress.step,
    )


def _utility(contract: Contract, release: _Release, progress: Progress) -> dict[str, Any]:
    synthesis = contract.synthesis
    assert synthesis is not None
    return utility(
        release.synthetic,
        release.training.table,
        release.holdout.table,
        [UtilityColumn(c.name, c.categorical, c.maximum, c.values) for c in release.columns],
        synthesis.tasks,
        synthesis.segments,
        seed=synthesis.seed,
        report=progress.step,
        holdout_units=pa.array(release.holdout.units),
    ).as_dict()


def _own_figures(gate: Gate, content: dict[str, Any], copies: CopyExcess, protected: Anonymity) -> tuple[Figure, ...]:
    return (
        Figure("excess of exact copies, upper 95 % bound", copies.upper_bound, gate.max_copy_excess, at_most=True),
        Figure(f"k-anonymity of {gate.k_dataset}", float(protected.k), float(gate.min_k), at_most=False),
        Figure("hold-out units", float(content["holdout"]["units"]), float(gate.min_holdout_units), at_most=False),
    )
