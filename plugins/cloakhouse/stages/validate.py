"""Validate protected partitions: the suites of `expectations/`, answered with evidence that holds no values.

They are validated in groups of bounded size, a large partition by itself and in batches, so that memory doesn't grow
with it but for columns that are checked over all of its rows (sums, uniqueness). Only those that pass are marked, and
only marked ones are ever synthesized from. That rows are read is recorded before, a mark with the event of its
partition, a group that fails as refused. Synthetic datasets: `cloakhouse.stages.validate_release`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from cloakhouse.contracts.model import Contract, Period
from cloakhouse.errors import ValidationRefused
from cloakhouse.lake.manifests import write_manifest
from cloakhouse.lake.parquet import TableStore
from cloakhouse.lake.store.opening import open_store
from cloakhouse.ledger.audit_event import REFUSED, Action, Event
from cloakhouse.ledger.audited_keys import open_ring
from cloakhouse.ledger.catalogue import Catalogue, ManifestRef, ProtectedPartition
from cloakhouse.progress import Progress
from cloakhouse.quality.results import SuiteResult
from cloakhouse.quality.runner import run_suite
from cloakhouse.quality.suites import load_suite
from cloakhouse.settings import Settings
from cloakhouse.stages.auditing import event, failures_recorded, record
from cloakhouse.stages.reads import reads
from cloakhouse.stages.residency import check_residency
from cloakhouse.stages.sources import as_refs, batches_of_partitions

KIND = "validation"
GROUP_ROWS = 250_000


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
    store = TableStore(open_store(settings), open_ring(settings))
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
    facts = {"suite": suite.digest}
    by = event(settings, Action.VALIDATE, contract.name, dataset=contract.name, facts=facts)
    with failures_recorded(settings, by):
        check_residency(settings, contract, "protected")
    record(settings, *reads(by, {contract.name: waiting}, "validation"))
    groups: list[dict[str, Any]] = []
    failed: list[tuple[list[ProtectedPartition], SuiteResult]] = []
    done = 0
    with failures_recorded(settings, by):
        for group in _groups(waiting, alone=contract.feed is not None and contract.feed.period is Period.SNAPSHOT):
            result = run_suite(suite.body, batches_of_partitions(settings, store, group, GROUP_ROWS))
            groups.append({"partitions": as_refs(group), "result": result.as_dict()})
            if result.success:
                catalogue.mark_validated(contract.name, [p.manifest for p in group], by)
            else:
                record(settings, *_refused_partitions(by, group))
                failed.append((group, result))
            done += len(group)
            progress.step(done, len(waiting), "partitions")
    evidence = write_manifest(
        open_store(settings),
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
        raise refused(f"protected zone, {contract.name} {span}", failures(result), evidence)
    checks = sum(len(group["result"]["expectations"]) for group in groups)
    progress.finish(
        f"{checks} checks passed on {len(waiting)} partition{'' if len(waiting) == 1 else 's'}",
        checks=checks,
        passed="yes",
    )
    return evidence


def _refused_partitions(by: Event, group: list[ProtectedPartition]) -> Iterator[Event]:
    for partition in group:
        what = f"{partition.dataset}/{partition.partition}"
        facts = {**by.facts, "manifest": partition.manifest.sha256}
        yield replace(by, object=what, count=partition.rows, decision=REFUSED, code="validation.failed", facts=facts)


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


def failures(result: SuiteResult) -> list[str]:
    """Return a phrase for each expectation that did not hold."""
    return [
        f"{e.type}({', '.join(e.columns)}): "
        + (e.exception_class or (f"{e.unexpected_count} rows" if e.unexpected_count else "not met"))
        for e in result.failed
    ]


def refused(where: str, problems: list[str], evidence: ManifestRef) -> ValidationRefused:
    """Return the refusal for what did not pass; the first five problems stand in it."""
    return ValidationRefused(
        where=where,
        expected="every check of the suite and the gate passed",
        found="; ".join(problems[:5]) + (f"; and {len(problems) - 5} more" if len(problems) > 5 else ""),
        not_done="nothing was published",
        remedy=f"read the evidence {evidence.path}, correct the data or the contract, and run again",
        code="failed",
    )
