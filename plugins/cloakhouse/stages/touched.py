"""Which partitions held rows of the persons of an erasure, as its steps recorded it while they were cut.

The files that held them are gone by then, and so would be the trace of what was made from them. A partition counts when
a line or row of the persons was in any delivery of it, or in the protected partition, whoever cut it: steps of all open
erasures count, since one that was killed may have cut what another one asks for, and not looked further yet.
"""

from __future__ import annotations

from cloakhouse.ledger.erasures import Erasures
from cloakhouse.settings import Settings
from cloakhouse.stages.erasure_batch import Batch

STEPS = ("landed", "protected")  # `landed <dataset>/<partition>/<revision>`, `protected <dataset>/<partition>`
COUNTS = ("lines", "kept", "rows")


def touched_by(settings: Settings, batch: Batch) -> dict[str, frozenset[str]]:
    """Return the partitions that held rows of persons of `batch`, by protected dataset. Raises StorageError."""
    erasures, found = Erasures(settings.database), dict[str, set[str]]()
    names = {batch.name} | {erasure.batch for erasure in erasures.all(open_only=True)}
    for name in sorted(names):
        for step in erasures.steps(name):
            kind, _, place = step.step.partition(" ")
            if kind in STEPS and place and any(step.content.get(count) for count in COUNTS):
                dataset, partition = place.split("/")[:2]
                found.setdefault(dataset, set()).add(partition)
    return {dataset: frozenset(partitions) for dataset, partitions in found.items()}
