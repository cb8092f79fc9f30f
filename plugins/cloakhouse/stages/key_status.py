"""What there is to know of the keys of an installation, without opening one."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

from cloakhouse.keys.dataset_keys import DatasetKeyFile
from cloakhouse.keys.protocol import Grant, KeyDescription, KeyState
from cloakhouse.ledger.audited_keys import open_ring
from cloakhouse.settings import Settings
from cloakhouse.stages.rotation import next_rotation


@dataclass(frozen=True)
class MasterStatus:
    """One master key. `dataset_keys` counts the keys it wraps, `behind` those that an older version still wraps."""

    description: KeyDescription
    age_days: int | None
    next_rotation: dt.datetime | None
    dataset_keys: int
    behind: int

    def as_dict(self) -> dict[str, Any]:
        """Return the fields, JSON-ready."""
        versions = self.description.versions
        return {
            "name": self.description.name,
            "state": self.description.state.value,
            "version": versions[-1].version if versions else None,
            "age_days": self.age_days,
            "next_rotation": self.next_rotation.date().isoformat() if self.next_rotation else None,
            "dataset_keys": self.dataset_keys,
            "behind": self.behind,
            "versions": [{"version": v.version, "created": v.created.isoformat()} for v in versions],
        }


@dataclass(frozen=True)
class KeyStatus:
    """Master keys in order of their names, grants, and the dataset keys that were shredded."""

    masters: tuple[MasterStatus, ...]
    grants: tuple[Grant, ...]
    shredded: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the fields, JSON-ready."""
        return {
            "masters": [master.as_dict() for master in self.masters],
            "grants": [g.as_dict() for g in self.grants],
            "shredded": list(self.shredded),
        }


def key_status(settings: Settings, now: dt.datetime) -> KeyStatus:
    """Return the keys and grants of the installation as they are at `now` (UTC). Raises KeyServiceError."""
    ring = open_ring(settings)
    files = ring.all()
    described = [ring.service.describe(name) for name in ring.service.names()]
    masters = tuple(_master(d, files, settings.rotation_period, now) for d in described)
    shredded = tuple(file.key.name for file in files if file.state is KeyState.DESTROYED)
    return KeyStatus(masters, ring.service.grants(), shredded)


def _master(
    description: KeyDescription, files: list[DatasetKeyFile], period: dt.timedelta, now: dt.datetime
) -> MasterStatus:
    newest = description.versions[-1] if description.versions else None
    mine = [f for f in files if f.key.master == description.name and f.state is KeyState.ENABLED]
    behind = [f for f in mine if newest and any(r.master_version < newest.version for r in f.versions)]
    age = (now - newest.created).days if newest else None
    return MasterStatus(description, age, next_rotation(description, period), len(mine), len(behind))
