"""What lies about in the zones of the sources and nothing lists: removed, since nobody else can tell what is in it.

| what | where | removed by |
| --- | --- | --- |
| objects of landed files that no delivery lists | `landing/<dataset>/` | here |
| files that no partition's manifest lists: of earlier pseudonymizations, and of expired partitions | `protected/`,
  `quarantine/` | here, and by each cut |
| lists of persons for workers of killed runs | `rights/sieves/<dataset>/` | here |
| half-written files of killed writers; uploads that were not completed | in every folder above | here |
| copies of deleted objects in this home's cache | the store's cache | by the store, as it deletes an object |
| training views and models of runs | `views/`, `models/` | `cloakhouse.stages.erase_derived` |

Manifests stay: they hold names, counts and digests. A copy in the cache of another machine is encrypted, and goes when
the cache is trimmed there; the inbox is the sender's, unless the contract empties it after landing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from cloakhouse.contracts.model import Contract
from cloakhouse.keys.files import locked
from cloakhouse.lake.manifests import read_manifest
from cloakhouse.lake.store.opening import open_store
from cloakhouse.ledger.audit_event import Action
from cloakhouse.ledger.catalogue import Catalogue
from cloakhouse.ledger.erasures import Erasures
from cloakhouse.settings import Settings
from cloakhouse.stages.auditing import event
from cloakhouse.stages.cutting import FILES, LOCK_WAIT_S, QUARANTINE
from cloakhouse.stages.erase_landed import feeds_of_persons
from cloakhouse.stages.residency import check_residency
from cloakhouse.stages.sieve_lists import clear_lists
from cloakhouse.stages.sources import PROTECTED

if TYPE_CHECKING:
    from cloakhouse.stages.erasure_batch import Batch

STRAYS = "strays"
ENDINGS = {"landing": ".chl", PROTECTED: ".parquet", QUARANTINE: ".parquet"}


def remove_strays(settings: Settings, batch: Batch) -> dict[str, int]:
    """Remove what nothing lists, of all feeds of persons, and return how many files by zone. Done once, as recorded.

    Raises IntegrityError, StorageError, StageError (a dataset is busy).
    """
    erasures = Erasures(settings.database)
    ended = erasures.step(batch.name, STRAYS)
    if ended is not None:
        return dict(ended.content)
    totals = Counter({**dict.fromkeys(ENDINGS, 0), "half_written": 0})
    for contract in feeds_of_persons(settings):
        check_residency(settings, contract, *ENDINGS)
        with locked(settings.home / "locks" / f"{contract.name}.lock", LOCK_WAIT_S, f"erasing from {contract.name}"):
            totals.update(_removed(settings, contract))
            clear_lists(open_store(settings), contract.name)
    facts: dict[str, str | int] = {"erasure": batch.name}
    by = event(settings, Action.ERASE, STRAYS, count=totals.total(), reason=batch.reason, facts=facts)
    erasures.done(batch.name, STRAYS, dict(totals), by)
    return dict(totals)


def _removed(settings: Settings, contract: Contract) -> Counter[str]:
    store, listed, count = open_store(settings), set(_listed(settings, contract)), Counter[str]()
    for zone, ending in ENDINGS.items():
        folder = f"{zone}/{contract.name}"
        for info in list(store.list(folder)):
            if info.path.endswith(ending) and info.path not in listed:
                count[zone] += store.delete(info.path)
        count["half_written"] += store.clear_leftovers(folder)
    return count


def _listed(settings: Settings, contract: Contract) -> Iterator[str]:
    """Yield the paths that the control database points to."""
    store, catalogue = open_store(settings), Catalogue(settings.database)
    for partition, revisions in catalogue.deliveries(contract.name).items():
        for delivery in (d for d in revisions if d.expired_at is None):
            content = read_manifest(store, delivery.manifest, "delivery")
            yield f"landing/{contract.name}/{partition}/{content['object']}"
    for protected in catalogue.protected(contract.name).values():
        content = read_manifest(store, protected.manifest, PROTECTED)
        yield from (item["path"] for name in (FILES, QUARANTINE) for item in content.get(name, ()))
