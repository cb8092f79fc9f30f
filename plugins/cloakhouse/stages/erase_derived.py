"""Erasing persons from what was made of their rows, in all derived datasets: what goes of each, and what is made anew.

Releases under a guarantee are judged together, then dataset by dataset is searched and emptied
(`cloakhouse.stages.emptying`). A second pass, before the closing search, takes what came in during the first.
"""

from __future__ import annotations

import json

from cloakhouse.contracts.parser import load_contracts
from cloakhouse.ledger.audit_event import Action
from cloakhouse.ledger.catalogue import Catalogue
from cloakhouse.ledger.erasure_model import Erasure, ErasureState
from cloakhouse.ledger.erasures import Erasures
from cloakhouse.progress import Progress
from cloakhouse.settings import Settings
from cloakhouse.stages.auditing import event
from cloakhouse.stages.derived import Touched, derived_datasets, standing
from cloakhouse.stages.emptying import Emptying
from cloakhouse.stages.erase_protected import touched
from cloakhouse.stages.erasure_batch import Batch, still
from cloakhouse.stages.erasure_certificate import STATEMENT

DERIVED, LATE = "derived", "late"  # passes


def touched_by(settings: Settings, batch: Batch) -> Touched:
    """Return the partitions that held rows of persons of `batch`, by protected dataset.

    Steps of all open erasures count: one that was killed may have cut what this one asks for, and not looked further.
    So do those of an erasure that a hold took somebody out of on its way: it may have cut that person's rows, and left
    what was made of them.
    """
    found: dict[str, frozenset[str]] = {}
    erasures = Erasures(settings.database)
    counted = (one.batch for one in erasures.all() if one.state is ErasureState.OPEN or _passed_by(erasures, one))
    names = {batch.name, *counted}
    for name in sorted(names):
        for dataset, partitions in touched(settings, name).items():
            found[dataset] = found.get(dataset, frozenset()) | partitions
    return found


def _passed_by(erasures: Erasures, erasure: Erasure) -> bool:
    """Return whether a hold took persons of a done erasure out of it."""
    stated = erasures.step(erasure.batch, STATEMENT)
    return stated is not None and json.loads(stated.content["payload"])["persons"]["held"] > 0


def clean_manifests(settings: Settings, touched: Touched) -> frozenset[str]:
    """Return the digests of the partitions `touched` as they stand now: cut, so that none of the persons is in them."""
    catalogue = Catalogue(settings.database)
    return frozenset(
        partition.manifest.sha256
        for dataset, names in touched.items()
        for name, partition in catalogue.protected(dataset).items()
        if name in names
    )


def erase_derived(settings: Settings, batch: Batch, touched: Touched, name: str = DERIVED) -> list[str]:
    """Remove what was made from rows of the persons of `batch` in the partitions `touched`, which are cut by now.

    `name` is of the pass. Returns the datasets whose newest version went, so that they are to be made anew. Raises
    StageError when a synthesis or publication is at work for too long, IntegrityError, KeyServiceError, AccessRefused,
    StorageError; called again, it goes on.
    """
    erasures = Erasures(settings.database)
    if (step := erasures.step(batch.name, name)) is not None:
        return list(step.content["renew"])
    persons, clean = still(settings, batch), clean_manifests(settings, touched)
    stands = standing(settings, touched, persons, clean)
    names, contracts = derived_datasets(settings), load_contracts(settings.contracts)
    progress, gone = Progress.of("erase", batch.name), []
    for number, dataset in enumerate(names, start=1):
        found = Emptying(settings, contracts, batch, dataset, name, touched, persons, clean, stands).erase()
        gone += [found] if found else []
        progress.step(number, len(names), "derived datasets")
    renew = sorted(one["dataset"] for one in gone if one["renew"])
    content = {
        "searched": len(names),
        "datasets": [one["dataset"] for one in gone],
        "renew": renew,
        "argument": stands.argument.as_dict() if stands.versions else None,
    }
    by = event(settings, Action.ERASE, name, count=len(gone), reason=batch.reason, facts={"batch": batch.name})
    erasures.done(batch.name, name, content, by)
    return list(erasures.step(batch.name, name).content["renew"])  # type: ignore[union-attr]  # recorded just now
