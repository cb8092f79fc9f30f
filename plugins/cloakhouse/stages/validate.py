"""Validate: the suites of `expectations/` and the contract's gate, answered with evidence that holds no values.

Protected partitions are validated in groups of bounded size, each on its own; only those that pass are marked, and
only marked ones are ever synthesized from. A synthetic dataset is validated as a whole against its training
rows and hold-out. The gate fails closed: a figure that is missing fails, and bounds, not point estimates, are compared.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa

from cloakhouse.contracts.model import Contract, Gate, Period
from cloakhouse.errors import ValidationRefused
from cloakhouse.keys.service import open_ring
from cloakhouse.lake.manifests import read_manifest, write_manifest
from cloakhouse.lake.parquet import FileEntry, TableStore
from cloakhouse.ledger.catalogue import Catalogue, ManifestRef, ProtectedPartition
from cloakhouse.privacy.copies import copy_excess, copy_matches
from cloakhouse.privacy.kanonymity import k_anonymity
from cloakhouse.progress import Progress
from cloakhouse.quality.results import SuiteResult
from cloakhouse.quality.runner import run_suite
from cloakhouse.quality.suites import load_suite
from cloakhouse.settings import Settings
from cloakhouse.stages.sources import as_refs, partition_files, read_partitions

KIND = "validation"
GROUP_ROWS = 250_000


@dataclass(frozen=True)
class Figure:
    """One figure of the gate: what was measured, the contract's threshold, and which way they compare."""

    name: str
    value: float | None
    threshold: float
    at_most: bool

    @property
    def passed(self) -> bool:
        """Whether the figure is there and meets the threshold."""
        if self.value is None or self.value != self.value:
            return False
        return self.value <= self.threshold if self.at_most else self.value >= self.threshold

    def as_dict(self) -> dict[str, Any]:
        """Return the fields and the outcome."""
        return {**asdict(self), "passed": self.passed}


def waiting_partitions(catalogue: Catalogue, contract: Contract) -> list[ProtectedPartition]:
    """Return the partitions that wait for validation; one of another version waits to be pseudonymized again first."""
    partitions = catalogue.protected(contract.name).values()
    return [p for p in partitions if not p.validated and p.contract_version == contract.version]


def validate_protected(settings: Settings, contract: Contract) -> ManifestRef:
    """Validate the partitions of `contract` that wait for it, and return the evidence.

    Raises ValidationRefused when a group failed (its partitions stay unmarked; the others are marked), or
    when nothing is there to validate.
    """
    progress = Progress.of("validate", contract.name)
    catalogue = Catalogue(settings.database)
    catalogue.register_contract(contract)
    suite = load_suite(settings.expectations, contract.name, contract.version)
    store = TableStore(settings.lake, open_ring(settings))
    waiting = waiting_partitions(catalogue, contract)
    if not waiting:
        raise ValidationRefused(
            where=f"protected zone, {contract.name}",
            expected=f"at least one partition under contract {contract.version} that waits for validation",
            found="none",
            not_done="no evidence was written",
            remedy=f"run the DAG protect_{contract.name}: it pseudonymizes what has landed",
            code="nothing",
        )
    groups: list[dict[str, Any]] = []
    failed: list[tuple[list[ProtectedPartition], SuiteResult]] = []
    done = 0
    for group in _groups(waiting, alone=contract.feed is not None and contract.feed.period is Period.SNAPSHOT):
        table = pa.concat_tables(read_partitions(settings, store, group))
        result = run_suite(suite.body, [table])
        groups.append({"partitions": as_refs(group), "result": result.as_dict()})
        if result.success:
            catalogue.mark_validated(contract.name, [p.manifest for p in group])
        else:
            failed.append((group, result))
        done += len(group)
        progress.step(done, len(waiting), "partitions")
    evidence = write_manifest(
        settings.lake,
        f"evidence/{contract.name}",
        KIND,
        {
            "dataset": contract.name,
            "contract": {"version": contract.version, "digest": contract.digest},
            "suite": {"name": suite.name, "digest": suite.digest},
            "groups": groups,
            "passed": not failed,
        },
    )
    if failed:
        group, result = failed[0]
        span = f"{group[0].partition} to {group[-1].partition}"
        raise _refused(f"protected zone, {contract.name} {span}", _failures(result), evidence)
    checks = sum(len(group["result"]["expectations"]) for group in groups)
    progress.finish(
        f"{checks} checks passed on {len(waiting)} partition{'' if len(waiting) == 1 else 's'}",
        checks=checks,
        passed="yes",
    )
    return evidence


def _groups(partitions: list[ProtectedPartition], *, alone: bool) -> Iterator[list[ProtectedPartition]]:
    """Yield runs of partitions with at most GROUP_ROWS rows together (one at least); snapshots each alone."""
    group: list[ProtectedPartition] = []
    rows = 0
    for partition in partitions:
        if group and (alone or rows + partition.rows > GROUP_ROWS):
            yield group
            group, rows = [], 0
        group.append(partition)
        rows += partition.rows
    if group:
        yield group


def validate_synthetic(settings: Settings, contract: Contract, synthesis: ManifestRef) -> ManifestRef:
    """Validate a synthetic dataset against suite and gate, and return the evidence, passed.

    Raises ValidationRefused when it did not pass; the evidence is written all the same, and publication refuses it.
    """
    progress = Progress.of("validate", contract.name)
    content = read_manifest(settings.lake, synthesis, "synthesis")
    if content["contract"]["digest"] != contract.digest:
        raise ValidationRefused(
            where=f"synthetic dataset {contract.name}",
            expected=f"rows made under contract {contract.version} as it is now",
            found=f"rows made under version {content['contract']['version']} of another content",
            not_done="nothing was validated or published",
            remedy="run the DAG again: it will synthesize under the contract in force",
            code="contract-moved",
        )
    suite = load_suite(settings.expectations, contract.name, contract.version)
    store = TableStore(settings.lake, open_ring(settings))
    synthetic = pa.concat_tables([store.read(FileEntry(**item)) for item in content["files"]])
    training = store.read(FileEntry(**content["training"]["file"]))
    holdout = store.read(FileEntry(**content["holdout"]["file"]))
    matches = copy_matches(synthetic, training, holdout, synthetic.column_names)
    batch = synthetic
    for name in matches.column_names:
        batch = batch.append_column(name, matches.column(name))
    result = run_suite(suite.body, [batch])
    gate = contract.gate
    assert gate is not None
    copies = copy_excess(synthetic, training, holdout, synthetic.column_names)
    figures = _figures(settings, store, gate, content, copies.upper_bound)
    passed = result.success and all(figure.passed for figure in figures)
    evidence = write_manifest(
        settings.lake,
        f"evidence/{contract.name}",
        KIND,
        {
            "dataset": contract.name,
            "contract": {"version": contract.version, "digest": contract.digest},
            "subject": synthesis.as_dict(),
            "suite": {"name": suite.name, "digest": suite.digest},
            "quality": result.as_dict(),
            "copies": copies.as_dict(),
            "gate": [figure.as_dict() for figure in figures],
            "privacy_guarantee": content["engine"]["privacy_guarantee"],
            "passed": passed,
        },
    )
    if not passed:
        problems = _failures(result) + [f"{f.name} = {f.value} against {f.threshold}" for f in figures if not f.passed]
        raise _refused(f"synthetic dataset {contract.name}", problems, evidence)
    progress.finish(
        f"{len(result.expectations)} checks and {len(figures)} gate figures passed",
        checks=len(result.expectations),
        passed="yes",
        gate="; ".join(map(_sentence, figures)),
    )
    return evidence


def _sentence(figure: Figure) -> str:
    value = "missing" if figure.value is None else f"{figure.value:.4g}"
    return f"{figure.name} {value} ({'<=' if figure.at_most else '>='} {figure.threshold:.4g})"


def _figures(
    settings: Settings, store: TableStore, gate: Gate, content: dict[str, Any], copy_bound: float
) -> tuple[Figure, ...]:
    pins = [ManifestRef.of(pin) for pin in content["sources"][gate.k_dataset]]
    entries = [entry for pin in pins for entry in partition_files(settings, pin)]
    identifiers = pa.concat_tables([store.read(entry, gate.quasi_identifiers) for entry in entries])
    k = k_anonymity(identifiers, gate.quasi_identifiers)
    return (
        Figure("excess of exact copies, upper 95 % bound", copy_bound, gate.max_copy_excess, at_most=True),
        Figure(f"k-anonymity of {gate.k_dataset}", float(k), float(gate.min_k), at_most=False),
        Figure("hold-out units", float(content["holdout"]["units"]), float(gate.min_holdout_units), at_most=False),
    )


def _failures(result: SuiteResult) -> list[str]:
    return [
        f"{e.type}({', '.join(e.columns)}): "
        + (e.exception_class or (f"{e.unexpected_count} rows" if e.unexpected_count else "not met"))
        for e in result.failed
    ]


def _refused(where: str, problems: list[str], evidence: ManifestRef) -> ValidationRefused:
    return ValidationRefused(
        where=where,
        expected="every check of the suite and the gate passed",
        found="; ".join(problems[:5]) + (f"; and {len(problems) - 5} more" if len(problems) > 5 else ""),
        not_done="nothing was published",
        remedy=f"read the evidence {evidence.path}, correct the data or the contract, and run again",
        code="failed",
    )
