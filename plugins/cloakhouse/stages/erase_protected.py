"""Erasing persons from protected partitions, and which partitions held them.

What a partition holds of the persons is a step of the erasure, by the partition and the digest of its manifest,
recorded together with the cut: when the files are gone, it alone tells which datasets were made from rows of them
(`touched`).
The step `protected` is the end. Killed anywhere, the next call goes over all partitions again, which costs the reading
of one column.

A feed without a `subject` has nobody's rows: what it says of persons by another of its columns is not looked for.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from cloakhouse.ledger.audit_event import Action, Event
from cloakhouse.ledger.catalogue import Also, Catalogue, ProtectedPartition
from cloakhouse.ledger.erasures import Erasures
from cloakhouse.progress import Progress
from cloakhouse.settings import Settings
from cloakhouse.stages.auditing import event
from cloakhouse.stages.cutting import Tools, cut_partition
from cloakhouse.stages.erase_landed import LANDED, feeds_of_persons
from cloakhouse.stages.erasure_batch import still

if TYPE_CHECKING:
    from cloakhouse.stages.erasure_batch import Batch

PROTECTED = "protected"


def erase_protected(settings: Settings, batch: Batch) -> dict[str, int]:
    """Cut the persons of `batch` out of all protected partitions and return totals: partitions, rows, files written
    anew and deleted.

    Persons who are under a hold stay. Done once, the totals are those recorded. Raises IntegrityError, KeyServiceError,
    AccessRefused, StorageError, StageError (a dataset is busy).
    """
    erasures = Erasures(settings.database)
    ended = erasures.step(batch.name, PROTECTED)
    if ended is not None:
        return dict(ended.content)
    totals, erasing = Counter({"rewritten": 0, "deleted": 0}), zone_event(settings, PROTECTED, batch)
    feeds = list(feeds_of_persons(settings))
    tools = Tools.of(settings, feeds, batch.reason)
    for contract in feeds:
        progress = Progress.of("erase", contract.name)
        partitions = tools.catalogue.protected(contract.name).values()
        for number, partition in enumerate(partitions, start=1):
            by = told(erasing, PROTECTED, partition)
            step = f"{PROTECTED} {contract.name}/{partition.partition}/{partition.manifest.sha256[:12]}"
            noted = partial(found, erasures, batch, step)
            cut = cut_partition(settings, contract, partition, still(settings, batch, tools.holds), by, noted, tools)
            totals.update(rewritten=cut.rewritten, deleted=cut.deleted)
            progress.step(number, len(partitions), "partitions")
    return ended_with(erasures, batch, PROTECTED, totals, erasing)


def touched(settings: Settings, batch: str) -> dict[str, frozenset[str]]:
    """Return the partitions that held rows of the persons of an erasure, in any delivery, by dataset.

    Also those of which an earlier delivery isn't kept any longer: nobody can tell what was in it.
    """
    held: dict[str, set[str]] = {}
    for step in Erasures(settings.database).steps(batch):
        zone, _, place = step.step.partition(" ")
        if zone in (LANDED, PROTECTED) and place and (step.content.get("rows") or step.content.get("lines")):
            dataset, partition = place.split("/")[:2]
            held.setdefault(dataset, set()).add(partition)
    for contract in feeds_of_persons(settings):
        for partition, revisions in Catalogue(settings.database).deliveries(contract.name).items():
            if any(delivery.expired_at is not None for delivery in revisions[:-1]):
                held.setdefault(contract.name, set()).add(partition)
    return {dataset: frozenset(partitions) for dataset, partitions in held.items()}


def zone_event(settings: Settings, zone: str, batch: Batch) -> Event:
    """Return the event of erasing from a zone. Raises KeyServiceError, AccessRefused."""
    return event(settings, Action.ERASE, f"{zone} zone", reason=batch.reason, facts={"erasure": batch.name})


def told(erasing: Event, zone: str, partition: ProtectedPartition) -> Event:
    """Return the event of cutting one partition."""
    what = f"{zone}/{partition.dataset}/{partition.partition}"
    return replace(erasing, object=what, dataset=partition.dataset)


def found(erasures: Erasures, batch: Batch, step: str, rows: int) -> Also:
    """Return what records in the transaction of the cut what one partition held of the persons."""
    return partial(erasures.within, batch=batch.name, step=step, content={"rows": rows})


def ended_with(erasures: Erasures, batch: Batch, zone: str, totals: Counter[str], by: Event) -> dict[str, int]:
    """Record the end of a zone with its totals, the rows from the steps of its partitions, and return them."""
    steps = [step for step in erasures.steps(batch.name) if step.step.startswith(f"{zone} ")]
    content = {**totals, "partitions": len(steps), "rows": sum(step.content["rows"] for step in steps)}
    erasures.done(batch.name, zone, content, by)
    return content
