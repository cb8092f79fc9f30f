"""The state of a rewrite, in one file that is replaced in one step: `<home>/jobs/rewrite-<zone>-<class>.json`."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from cloakhouse.errors import IntegrityError
from cloakhouse.keys.dataset_keys import DatasetKey
from cloakhouse.keys.files import fsync_folder, listed, replacing
from cloakhouse.keys.protocol import KeyName

FORMAT = 1


@dataclass(frozen=True)
class RewriteJob:
    """One rewrite.

    Attributes:
        name: the master key.
        begun: when its versions were made (UTC).
        targets: the version that each dataset key must have in every file.
        visible_since: when the last new file became visible (UTC), None before.
        done: landed files that were encrypted again, by their paths within the lake.
    """

    name: KeyName
    begun: dt.datetime
    targets: Mapping[DatasetKey, int]
    visible_since: dt.datetime | None
    done: frozenset[str]

    def all_visible(self, moment: dt.datetime) -> RewriteJob:
        """Return the job with everything new visible since `moment`."""
        return replace(self, visible_since=moment)

    def with_done(self, path: str) -> RewriteJob:
        """Return the job with one landed file more that is done."""
        return replace(self, done=self.done | {path})

    def write(self, home: Path) -> None:
        """Replace the job's file. Raises StorageError."""
        content = {
            "format": FORMAT,
            "key": self.name,
            "begun": self.begun.isoformat(),
            "targets": {key.name: version for key, version in self.targets.items()},
            "visible_since": self.visible_since.isoformat() if self.visible_since else None,
            "done": sorted(self.done),
        }
        with replacing(_path(home, self.name)) as stream:
            stream.write(json.dumps(content, indent=1).encode())

    def remove(self, home: Path) -> None:
        """Remove the job's file: the rewrite is finished."""
        _path(home, self.name).unlink(missing_ok=True)
        fsync_folder(home / "jobs")

    @classmethod
    def find(cls, home: Path, name: KeyName) -> RewriteJob | None:
        """Return the rewrite of `name` that has begun, or None. Raises IntegrityError for a damaged file."""
        path = _path(home, name)
        return cls._read(path, home) if path.exists() else None

    @classmethod
    def all(cls, home: Path) -> list[RewriteJob]:
        """Return every rewrite that has begun and not ended. Raises IntegrityError for a damaged file, StorageError
        where they can't be listed."""
        return [cls._read(path, home) for path in listed(home / "jobs", "rewrite-*.json")]

    @classmethod
    def _read(cls, path: Path, home: Path) -> RewriteJob:
        try:
            content = json.loads(path.read_bytes())
            if content["format"] != FORMAT:
                raise ValueError
            since = content["visible_since"]
            name = KeyName(content["key"])
            targets = {DatasetKey.parse(key): int(version) for key, version in content["targets"].items()}
            if _path(home, name) != path or any(key.master != name for key in targets):
                raise ValueError  # the versions that it tells to destroy would be those of other keys
            return cls(
                name,
                dt.datetime.fromisoformat(content["begun"]),
                targets,
                dt.datetime.fromisoformat(since) if since else None,
                frozenset(map(str, content["done"])),
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            raise IntegrityError(
                where=path.name,
                expected="the state of this key's rewrite, of format 1",
                found="a damaged file, or that of another key",
                not_done="the rewrite did not go on",
                remedy="remove the file and start the rewrite again; no data is lost by that",
            ) from None


def _path(home: Path, name: str) -> Path:
    return home / "jobs" / f"rewrite-{name.replace('/', '-')}.json"
