"""The name of a dataset key, and the file that holds its wrapped versions (format: see `cloakhouse.keys.ring`)."""

from __future__ import annotations

import base64
import datetime as dt
import itertools
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cloakhouse.errors import IntegrityError, KeyServiceError
from cloakhouse.keys.files import create_once, replacing
from cloakhouse.keys.protocol import KeyName, KeyState

FORMAT = 1
PART = re.compile(r"[a-z][a-z0-9_-]{0,62}")


@dataclass(frozen=True, order=True)
class DatasetKey:
    """Names a dataset key: zone, use (a column class, `footer` or `file`) and dataset."""

    zone: str
    use: str
    dataset: str

    def __post_init__(self) -> None:
        if not all(PART.fullmatch(part) for part in (self.zone, self.use, self.dataset)):
            raise IntegrityError(
                where="the name of a dataset key",
                expected="zone/class/dataset, each of lower-case letters, digits, _ and -",
                found="another form",
                not_done="no key was opened",
                remedy="restore the file that names it from a backup of the lake",
            )

    @classmethod
    def parse(cls, name: str) -> DatasetKey:
        """Return the key called `name`, e.g. `protected/direct/transactions`. Raises IntegrityError."""
        parts = name.split("/")
        return cls(*parts) if len(parts) == 3 else cls("", "", "")

    @property
    def name(self) -> str:
        """`zone/use/dataset`."""
        return f"{self.zone}/{self.use}/{self.dataset}"

    @property
    def master(self) -> KeyName:
        """The master key that wraps it: `zone/use`."""
        return KeyName(f"{self.zone}/{self.use}")

    def context(self, version: int) -> dict[str, str]:
        """Return the encryption context of a version's wrap."""
        return {"use": "dataset key", "zone": self.zone, "class": self.use, "dataset": self.dataset, "v": str(version)}


@dataclass(frozen=True)
class KeyRecord:
    """One wrapped version: when it was made (UTC) and which version of the master key wrapped it."""

    version: int
    created: dt.datetime
    master_version: int
    wrapped: bytes

    @classmethod
    def now(cls, version: int, master_version: int, wrapped: bytes) -> KeyRecord:
        """Return a record made at this moment."""
        return cls(version, dt.datetime.now(dt.UTC).replace(microsecond=0), master_version, wrapped)


@dataclass(frozen=True)
class DatasetKeyFile:
    """A dataset key as stored. `versions` ascends; a destroyed key has none."""

    key: DatasetKey
    state: KeyState
    versions: tuple[KeyRecord, ...]

    @property
    def newest(self) -> int:
        """The version that wraps; 0 when the key is destroyed."""
        return self.versions[-1].version if self.versions else 0

    def usable(self) -> DatasetKeyFile:
        """Return this, or raise KeyServiceError (`key.destroyed`)."""
        if self.state is KeyState.DESTROYED:
            raise refused(self.key, "a dataset key", "one that was destroyed (crypto-shredded)", "destroyed")
        return self

    def record(self, version: int | None) -> KeyRecord:
        """Return a version, the newest for None. Raises KeyServiceError (`key.missing`)."""
        for record in reversed(self.versions):
            if version is None or record.version == version:
                return record
        raise refused(self.key, f"version {version} of the dataset key", "no such version", "missing")

    def plus(self, record: KeyRecord) -> DatasetKeyFile:
        """Return the key with one version more."""
        return self.holding((*self.versions, record))

    def holding(self, records: Iterable[KeyRecord]) -> DatasetKeyFile:
        """Return the key with just these versions."""
        return DatasetKeyFile(self.key, self.state, tuple(records))

    @staticmethod
    def exists(folder: Path, key: DatasetKey) -> bool:
        """Return whether the key was ever made, destroyed ones included."""
        try:
            _path(folder, key).stat()
        except FileNotFoundError:
            return False
        except OSError as fault:  # not to be told means not to be made anew
            raise refused(key, "a readable file", type(fault).__name__, "damaged") from None
        return True

    @classmethod
    def read(cls, folder: Path, key: DatasetKey) -> DatasetKeyFile:
        """Return the key as stored. Raises KeyServiceError: `key.missing`, `key.damaged`."""
        try:
            raw = _path(folder, key).read_bytes()
        except FileNotFoundError:
            raise refused(key, "a dataset key of this name", "none", "missing") from None
        except OSError as fault:
            raise refused(key, "a readable file", type(fault).__name__, "damaged") from None
        try:
            file = cls._parse(key, json.loads(raw))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            file = None
        if file is None or raw != file._encoded():
            raise refused(key, "a key file of format 1", "a damaged one", "damaged")
        return file

    @classmethod
    def _parse(cls, key: DatasetKey, content: dict[str, object]) -> DatasetKeyFile | None:
        versions = tuple(
            KeyRecord(
                int(item["version"]),
                dt.datetime.fromisoformat(item["created"]),
                int(item["master_version"]),
                base64.b64decode(item["wrapped"], validate=True),
            )
            for item in content["versions"]  # type: ignore[attr-defined]
        )
        state = KeyState(content["state"])
        sound = (content["format"], content["key"]) == (FORMAT, key.name) and bool(versions) is (
            state is not KeyState.DESTROYED
        )
        ascending = all(a.version < b.version for a, b in itertools.pairwise(versions))
        return cls(key, state, versions) if sound and ascending else None

    def create(self, folder: Path) -> None:
        """Create the key's file; one that stands there stays, whatever it holds. Raises StorageError."""
        create_once(_path(folder, self.key), self._encoded())

    def write(self, folder: Path) -> None:
        """Replace the key's file in one step. Raises StorageError."""
        with replacing(_path(folder, self.key)) as stream:
            stream.write(self._encoded())

    def _encoded(self) -> bytes:
        versions = [
            {
                "version": record.version,
                "created": record.created.isoformat(),
                "master_version": record.master_version,
                "wrapped": base64.b64encode(record.wrapped).decode(),
            }
            for record in self.versions
        ]
        content = {"format": FORMAT, "key": self.key.name, "state": self.state.value, "versions": versions}
        return json.dumps(content, indent=1).encode()


def canonical(context: Mapping[str, str]) -> bytes:
    """Return an encryption context as canonical JSON: sorted keys, no spaces, UTF-8."""
    return json.dumps(dict(context), sort_keys=True, separators=(",", ":")).encode()


def refused(key: DatasetKey, expected: str, found: str, code: str) -> KeyServiceError:
    """Return the error for a dataset key that can't be used."""
    return KeyServiceError(
        where=f"dataset key {key.name}",
        expected=expected,
        found=found,
        not_done="no data key was opened and nothing was decrypted",
        remedy="restore `dataset-keys` from a backup of CLOAKHOUSE_HOME"
        if code != "destroyed"
        else "none: the data can't be read any more; deliver it again under another dataset, if it may be kept",
        code=code,
    )


def _path(folder: Path, key: DatasetKey) -> Path:
    return folder / key.zone / key.use / f"{key.dataset}.json"
