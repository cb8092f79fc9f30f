"""What must hold of a restored installation before it gets its name: its log, its register of versions, its keys.

1. Size and root of the log are those that the manifest signed, and every entry is as it was written, against every
   checkpoint of database and lake.
2. Of each anchor, a checkpoint that was kept elsewhere, the log is a continuation; or the anchor is the longer one.
   Then entries are lost. Where a later backup doesn't know the rights up to the anchor either, that is refused unless
   it was asked for.
3. The register gave every number that a release of the lake has, and no fewer than the manifest says.
4. The public keys beside the lake are those that the database knows.
"""

from __future__ import annotations

from collections.abc import Mapping

from cloakhouse.errors import IntegrityError
from cloakhouse.keys.signing import master
from cloakhouse.lake.store.opening import open_store
from cloakhouse.ledger.audit import AuditLog
from cloakhouse.ledger.audit_findings import Verification
from cloakhouse.ledger.catalogue import Catalogue
from cloakhouse.ledger.checkpoints import opened
from cloakhouse.ledger.versions import VersionRegister
from cloakhouse.settings import Settings
from cloakhouse.stages.audit_verification import examine
from cloakhouse.stages.backup_manifest import Backup, broken
from cloakhouse.stages.checkpointing import trusted
from cloakhouse.stages.signing import BACKUPS, SIGNERS, trusted_key
from cloakhouse.stages.version_checks import check_register


def check_restored(
    settings: Settings, backup: Backup, rights: Backup | None, anchors: Mapping[str, str], *, older: bool
) -> int:
    """Return how many entries of the log are known to be lost: 0 where neither `rights`, a later backup of which only
    the rights are taken, nor an anchor is longer than the restored log.

    Raises IntegrityError: `integrity.backup` for a state that is not the one that was backed up, `integrity.audit-log`
    for a log with findings, `integrity.restored-old` where an anchor is longer and not `older`, `integrity.checkpoint`,
    `integrity.signature`, `integrity.catalogue-old`; StorageError.
    """
    log, size = AuditLog(settings.database), backup.log_size
    if (log.size(), log.root(size).hex()) != (size, backup.log_root):  # 1
        raise broken("the restored audit log", f"{size:,} entries with the root that was signed", "another log")
    sizes = {name: opened(text, trusted(settings), name).size for name, text in anchors.items()} if anchors else {}
    longer = {name: found for name, found in sizes.items() if found > size}  # 2
    known = {name: text for name, text in anchors.items() if name not in longer}
    _sound(examine(settings, known))
    known_to = rights.log_size if rights is not None else size
    newest = max([known_to, *longer.values()])
    if newest > known_to and not older:
        raise _old(known_to, newest)
    register, store = VersionRegister(settings.database), open_store(settings)  # 3
    for dataset, reserved in backup.reserved.items():
        if register.reserved(dataset) < reserved:
            raise broken(f"the register of {dataset}", f"{reserved} numbers given", "fewer")
        check_register(store, register, dataset)
    catalogue = Catalogue(settings.database)  # 4
    for name in (*SIGNERS, BACKUPS):
        if catalogue.key_fingerprint(master(name)) is not None:
            trusted_key(settings, name)
    return newest - size


def roots_between(settings: Settings, anchors: Mapping[str, str], after: int, to: int) -> set[tuple[int, str]]:
    """Return size and root (hex) of the anchors of more than `after` and at most `to` entries. Raises IntegrityError as
    `check_restored`."""
    signed = [opened(text, trusted(settings), name) for name, text in anchors.items()]
    return {(one.size, one.root.hex()) for one in signed if after < one.size <= to}


def _sound(found: Verification) -> None:
    if not found.sound:
        first = found.findings[0]
        raise IntegrityError(
            where="the restored audit log",
            expected="every entry as it was written, and every checkpoint on its way",
            found=f"{len(found.findings) + found.more:,} findings, first {first.kind.value} at entry {first.first}",
            not_done="no home was made",
            remedy="take another backup, and keep this one and the checkpoint for whoever investigates",
            code="audit-log",
        )


def _old(size: int, anchor: int) -> IntegrityError:
    return IntegrityError(
        where="the backup",
        expected=f"one with the {anchor:,} entries of the log that were signed",
        found=f"{size:,} entries: what was done after them is not in it",
        not_done="no home was made",
        remedy="restore a newer backup; where there is none, --older-than-anchor restores this one, and the home stays "
        "closed until what is lost is settled",
        code="restored-old",
    )
