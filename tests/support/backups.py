"""Small installations to back up, shelves to put backups on, and what tells two installations apart."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyrage
import sqlalchemy as sa
from tests.support.consents import day, deliver, master_line, say
from tests.support.elsewhere import copied
from tests.support.erasures import Attic, requested

from cloakhouse.lake.store.opening import open_store
from cloakhouse.lake.store.protocol import ObjectStore
from cloakhouse.ledger import database as db
from cloakhouse.ledger.version_rows import aware
from cloakhouse.settings import Settings
from cloakhouse.stages.backup import Wanted, create
from cloakhouse.stages.backup_manifest import Backup, shelf_of
from cloakhouse.stages.checkpointing import checkpoint
from cloakhouse.stages.consent_feed import feed_register
from cloakhouse.stages.restore import Restored, Source, restore
from cloakhouse.stages.signing import BACKUPS, trusted_key

PARENTS: dict[str, dict[str, str]] = {}
REASON = "a drill of restoring, OPS-3"


@dataclass
class Shelved:
    """An installation, a shelf beside it, and the recipient's key."""

    settings: Settings
    folder: Path
    place: str
    identity: Path
    recipient: str

    @property
    def shelf(self) -> ObjectStore:
        return shelf_of(self.settings, self.place)

    def create(self, **how: Any) -> Backup:
        """Make a backup, with the identities unless it is said otherwise."""
        return create(self.settings, Wanted(self.place, self.recipient, **{"identities": True, **how}))

    def source(self, **how: Any) -> Source:
        return Source(self.shelf, trusted_key(self.settings, BACKUPS), self.identity, REASON, **how)

    def elsewhere(self, name: str = "restored") -> Settings:
        """Return the settings of a home that isn't there yet."""
        moved = self.settings.with_home(self.folder / name / "home")
        return replace(moved, contracts=self.settings.contracts)

    def restore(self, name: str = "restored", **how: Any) -> tuple[Settings, Restored]:
        there = self.elsewhere(name)
        return there, restore(there, self.source(**how))


def new_key(folder: Path) -> tuple[Path, str]:
    """Return the file of a fresh private key, and its recipient."""
    made, path = pyrage.x25519.Identity.generate(), folder / "backup-key.txt"
    path.write_text(f"{made}\n")
    path.chmod(0o600)
    return path, str(made.to_public())


def shelved(folder: Path, place: str = "") -> Shelved:
    """Return an installation with a published dataset, an open erasure and consents; and an empty shelf."""
    attic = Attic.at(folder / "home")
    PARENTS["2017-01-02"] = attic.partition("2017-01-02")
    attic.publish([1, 2, 3], [4])
    requested(attic.settings, attic.persons(90), "er-20261101-00000001")
    deliver(attic.settings, "2026-11-01", [master_line(number) for number in (1, 2, 3, 90)])
    feed_register(attic.settings)
    say(attic.settings, (1, "api", "granted", day(1)))
    checkpoint(attic.settings)
    identity, recipient = new_key(folder)
    return Shelved(attic.settings, folder, place or str(folder / "shelf"), identity, recipient)


def moved(template: Shelved, folder: Path) -> Shelved:
    """Return `template`, whose control database nobody has open, copied to `folder` with its shelf."""
    copied(template.folder, folder)
    settings = replace(template.settings.with_home(folder / "home"), contracts=folder / "home" / "contracts")
    return replace(template, settings=settings, folder=folder, place=str(folder / "shelf"))


def attic_of(settings: Settings) -> Attic:
    """Return the tools of an installation that `shelved` made."""
    return Attic(settings, runs=7, parents=dict(PARENTS))


def rows(settings: Settings, *but: str) -> dict[str, list[Any]]:
    """Return all rows of the control database by table, but for those of `but`."""
    found: dict[str, list[Any]] = {}
    with db.open_database(settings.database).connect() as connection:
        for table in db.METADATA.sorted_tables:
            if table.name not in but:
                wanted = sa.select(table).order_by(*table.primary_key.columns)
                found[table.name] = [tuple(map(_utc, row)) for row in connection.execute(wanted)]
    return found


def objects(settings: Settings) -> dict[str, bytes]:
    """Return every object of the lake."""
    store = open_store(settings)
    return {info.path: store.read(info.path) for info in store.list()}


def key_files(settings: Settings) -> dict[str, bytes]:
    """Return every key file by its path below the home."""
    folders = ("dataset-keys", "key-shares", "signing-keys", "token-roots", "keystore")
    paths = (path for name in folders for path in (settings.home / name).rglob("*") if path.is_file())
    return {str(p.relative_to(settings.home)): p.read_bytes() for p in paths if not p.name.startswith(".")}


def _utc(value: Any) -> Any:
    return aware(value) if isinstance(value, dt.datetime) else value
