"""Checks of what is recorded: the log and its checkpoints, budgets, releases, retention, receivers, backups."""

from __future__ import annotations

import datetime as dt

import sqlalchemy as sa

from cloakhouse.contracts.parser import load_contracts
from cloakhouse.lake.manifests import read_manifest
from cloakhouse.lake.store.opening import open_store
from cloakhouse.ledger import database as db
from cloakhouse.ledger.audit import AuditLog
from cloakhouse.ledger.budget import PrivacyLedger
from cloakhouse.ledger.catalogue import Catalogue
from cloakhouse.ledger.checkpoints import opened
from cloakhouse.ledger.erasures import Erasures
from cloakhouse.ledger.version_rows import aware
from cloakhouse.ledger.versions import VersionRegister
from cloakhouse.settings import Settings
from cloakhouse.stages import audit_verification
from cloakhouse.stages.backup_events import backups_of
from cloakhouse.stages.checkpointing import newest_stored, trusted
from cloakhouse.stages.forwarding import waiting
from cloakhouse.stages.health_model import Check, Found, fine, note, wrong
from cloakhouse.stages.retention_plan import State as Due
from cloakhouse.stages.retention_plan import plan
from cloakhouse.stages.version_checks import check_register, open_release

NIGHT = dt.timedelta(hours=26)  # what is done every night is late after it
BACKLOG = 10_000  # entries
DEADLINE, SOON = dt.timedelta(days=30), dt.timedelta(days=7)  # GDPR Art. 12(3): within one month of receipt
BACKUP_AGE = dt.timedelta(days=7)
SIGN = "see the DAG keep_audit, or run `cloakhouse audit checkpoint`"


def checkpoint(settings: Settings, now: dt.datetime) -> Found:
    """Verify the signature of the newest checkpoint and how old it is."""
    log = AuditLog(settings.database)
    size, newest = log.size(), newest_stored(log)
    if newest is None:
        begun = log.entry(0).event.at if size else None
        young = begun is None or now - begun < NIGHT
        return note(f"none yet over {size:,} entries", SIGN) if young else wrong(f"none over {size:,} entries", SIGN)
    signed = opened(newest.text, trusted(settings), newest.where)
    if signed.size > size or log.root(signed.size) != signed.root:
        remedy = "keep the database as it is; run `cloakhouse audit verify`, and investigate"
        return wrong("a log that is not the one that was signed", remedy, integrity=True)
    with log.engine.connect() as connection:
        at = aware(connection.execute(sa.select(sa.func.max(db.audit_checkpoint.c.at))).scalar_one())
    text = f"{signed.size:,} of {size:,} entries, signed {_ago(now - at)} ago"
    return wrong(text, SIGN) if size > signed.size and now - at > NIGHT else fine(text)


def chain(settings: Settings, _now: dt.datetime) -> Found:
    """Verify every entry of the log against every checkpoint; nothing is recorded."""
    found = audit_verification.examine(settings)
    if found.sound:
        return fine(f"{found.size:,} entries, {len(found.checkpoints)} checkpoints")
    text = f"{len(found.findings) + found.more} faults in {found.size:,} entries, the first: {found.findings[0].kind}"
    return wrong(text, "keep the database as it is; `cloakhouse audit verify` lists the faults", integrity=True)


def budgets(settings: Settings, now: dt.datetime) -> Found:
    """Replay the entries of all spends and compare them with what they are said to come to."""
    ledger = PrivacyLedger(settings.database)
    replayed = {spend.id: spend for spend in ledger.replay()}
    said = {spend.id: spend for spend in ledger.spends()}
    with AuditLog(settings.database).engine.connect() as connection:  # rows without an entry count in balances, too
        rows = set(connection.execute(sa.select(db.privacy_spend.c.spend_id).distinct()).scalars())
    agreed = {name for name in rows & replayed.keys() if replayed[name] == said.get(name)}
    if differing := (replayed.keys() | rows) - agreed:
        remedy = "restore the control database from its backup; release nothing before"
        return wrong(f"{len(differing)} of {len(replayed)} spends differ from their entries", remedy, integrity=True)
    if left := [one for one in said.values() if one.state == "reserved" and now - one.reserved_at > NIGHT]:
        remedy = "run the release again, or `cloakhouse budget release`: they count as spent until then"
        return note(f"{len(left)} of {len(said)} spends are reserved since more than a day", remedy)
    return fine(f"{len(replayed)} spends, as their entries have them")


def releases(settings: Settings, _now: dt.datetime) -> Found:
    """Open the newest release and the newest manifest of each dataset."""
    store, register, catalogue = open_store(settings), VersionRegister(settings.database), Catalogue(settings.database)
    count = 0
    for version in register.heads():
        check_register(store, register, version.dataset)
        files = open_release(settings, version).files
        if missing := sum(store.stat(file.path) is None for file in files):
            text = f"{missing} of {len(files)} files of {version.name} are not there"
            return wrong(text, "restore the lake from its backup", integrity=True)
        count += 1
    partitions = 0
    for name in load_contracts(settings.contracts):
        newest = list(catalogue.protected(name).values())[-1:]
        for partition in newest:
            read_manifest(store, partition.manifest)
        partitions += len(newest)
    return fine(f"{count} published versions and {partitions} newest partitions are there")


def retention(settings: Settings, now: dt.datetime) -> Found:
    """Look for what is past its day since more than a night."""
    late = [item for item in plan(settings, now) if item.state is Due.DUE and now - item.due > NIGHT]
    if not late:
        return fine("nothing is past its day")
    text = f"{len(late)} past their day, e.g. in {late[0].zone} of {late[0].dataset} since {late[0].due:%Y-%m-%d}"
    return wrong(text, "see the DAG keep_retention; `cloakhouse retention plan` lists them")


def erasures(settings: Settings, now: dt.datetime) -> Found:
    """Look for open erasure requests near their deadline, or past it."""
    found = Erasures(settings.database).all(open_only=True)
    if not found:
        return fine("no request is open")
    first = min(one.requested_at for one in found)
    text = f"{len(found)} requests are open, the first since {_ago(now - first)}"
    remedy = "`cloakhouse erase list`, then `cloakhouse erase resume`"
    if now > first + DEADLINE:
        return wrong(text, remedy)
    return note(text, remedy) if now > first + DEADLINE - SOON else fine(text)


def receivers(settings: Settings, _now: dt.datetime) -> Found:
    """Look at how far the receivers of the audit log are."""
    found = waiting(settings)
    if not found:
        return note("the audit log is forwarded nowhere", "docs/siem.md tells how, if it should be")
    trouble = [one for one in found if one.trouble]
    behind = max(one.backlog for one in found)
    if trouble:
        return wrong(f"{len(trouble)} of {len(found)} in trouble: {trouble[0].trouble}", "`cloakhouse audit forward`")
    if behind > BACKLOG:
        return wrong(f"{behind:,} entries wait", "see the DAG forward_audit")
    return fine(f"{len(found)} receivers; {behind:,} entries wait at most")


def backups(settings: Settings, now: dt.datetime) -> Found:
    """Look in the log for the last backup with the lake in it that was finished, and for those begun after it."""
    with AuditLog(settings.database).engine.connect() as connection:
        known = backups_of(connection)
    begun = f"; {known.begun} begun since and not finished" if known.begun else ""
    remedy = "make one with `cloakhouse backup`, and keep it elsewhere"
    if known.finished_at is None:
        return note(f"the log knows of none with the lake in it that was finished{begun}", remedy)
    age = now - known.finished_at
    text = f"the last is {_ago(age)} old{begun}"
    return wrong(text, remedy) if age > BACKUP_AGE else fine(text)


def _ago(age: dt.timedelta) -> str:
    hours = int(age.total_seconds() // 3_600)
    return f"{hours // 24} days" if hours >= 48 else f"{hours} hours"


CHECKS = (
    Check("checkpoint", "one of the last 26 hours, signed by our key", checkpoint, database=True),
    Check("log chain", "every entry under every checkpoint", chain, database=True, slow=True),
    Check("budgets", "sums that the entries come to", budgets, database=True, slow=True),
    Check("versions", "releases and manifests that are there", releases, database=True, slow=True),
    Check("retention", "nothing past its day", retention, database=True),
    Check("erasures", "no request open for more than 30 days", erasures, database=True),
    Check("receivers", "no trouble, and at most 10,000 entries that wait", receivers, database=True),
    Check("backups", "one of the last 7 days, with the lake in it, recorded as finished", backups, database=True),
)
