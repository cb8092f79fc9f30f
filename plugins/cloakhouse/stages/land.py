"""Land: the delivered file, encrypted byte for byte before anything else looks into it.

For each file of the dataset in the inbox, in name order:

1. the name gives the partition; the registered contract is the one in force;
2. its SHA-256 is compared with what has landed; then one pass over the bytes: encryption into a temporary
   file, gunzip, line count, header, and the SHA-256 again, which must be the same;
3. a fault (empty, truncated, wrong header, too long a line, other content for a landed name) discards the
   temporary file and is reported, and recorded as refused; it stays in the inbox and the next file goes on;
4. the encrypted file gets its name, then its manifest, then its row in the control database, with its event;
5. only then is the inbox emptied of it, where the contract says so.

Killed after 4, the next run finds the same digest landed and goes on with 5. Killed before, it starts over.
"""

from __future__ import annotations

from collections.abc import Sequence

from cloakhouse.contracts.model import Contract, Feed
from cloakhouse.errors import ConfigurationError
from cloakhouse.keys.derive import TokenKeys
from cloakhouse.keys.files import locked
from cloakhouse.lake.store.opening import open_store
from cloakhouse.ledger.audit_event import Action
from cloakhouse.ledger.audited_keys import service_of
from cloakhouse.ledger.catalogue import Catalogue
from cloakhouse.progress import Progress
from cloakhouse.settings import Settings
from cloakhouse.stages import inbox
from cloakhouse.stages.auditing import event, failures_recorded
from cloakhouse.stages.landing_run import Landed, LandingRun
from cloakhouse.stages.residency import check_residency

__all__ = ["Landed", "land"]

LOCK_WAIT_S = 600.0


def land(
    settings: Settings, contract: Contract, partitions: Sequence[str] | None = None, *, supersede: bool = False
) -> Landed:
    """Land the waiting files of `contract`'s feed and return what was done.

    `partitions` (ISO dates) limits the work, and each must have been delivered; None takes all that wait.
    `supersede` accepts other content for a partition that has landed, as a new revision. Refused files are
    reported, not raised. Raises ContractError, KeyServiceError, StorageError, StageError (another run is busy).
    """
    feed = _feed(contract)
    catalogue = Catalogue(settings.database)
    catalogue.register_contract(contract)
    progress = Progress.of("land", contract.name)
    with locked(settings.home / "locks" / f"{contract.name}.lock", LOCK_WAIT_S, f"landing {contract.name}"):
        with failures_recorded(settings, event(settings, Action.LAND, contract.name, dataset=contract.name)):
            check_residency(settings, contract, "landing")
        open_store(settings).clear_leftovers(f"landing/{contract.name}")
        if settings.token_roots.exists():  # a keystore that can't open it is not the one of this lake
            TokenKeys(service_of(settings), settings.token_roots).verify()
        worker = LandingRun(settings, contract, feed, catalogue, supersede)
        waiting = inbox.waiting(settings.inbox, feed, partitions)
        for number, name in enumerate(waiting, start=1):
            worker.take(name)
            progress.step(number, len(waiting), "files")
        worker.look_around(waiting, partitions)
        result = worker.result()
    for problem in worker.refused:
        progress.trouble(problem.explain())
    progress.finish(
        f"{result.landed} file{'' if result.landed == 1 else 's'} landed, {result.rows:,} rows"
        + (f", {result.duplicates} delivered twice" if result.duplicates else "")
        + (f", {len(result.refused)} refused" if result.refused else ""),
        files=result.landed,
        rows=result.rows,
        duplicates=result.duplicates,
        refused=len(result.refused),
    )
    return result


def _feed(contract: Contract) -> Feed:
    if contract.feed is None:
        raise ConfigurationError(
            where=f"contract {contract.name}",
            expected="a feed",
            found="a synthetic dataset",
            not_done="nothing was landed",
            remedy="name a dataset that is delivered",
        )
    return contract.feed
