"""Versions without synthesis: releases that are real, of files that are only there."""

from __future__ import annotations

import datetime as dt
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.acting import by
from tests.support.budgets import installation

from cloakhouse.lake.manifests import write_manifest
from cloakhouse.lake.releases import SIGNER, Release, write_release
from cloakhouse.lake.store.opening import open_store
from cloakhouse.lake.store.protocol import ObjectStore
from cloakhouse.lake.sums import FileEntry
from cloakhouse.ledger.catalogue import ManifestRef
from cloakhouse.ledger.versions import DatasetVersion, VersionRegister
from cloakhouse.settings import Settings
from cloakhouse.stages.signing import signing_key

NAME = "people_synthetic"
REF = ManifestRef(f"evidence/{NAME}/validation-{'a' * 16}.json", "a" * 64)
AT = dt.datetime(2026, 11, 2, 3, 4, 5, 678901, tzinfo=dt.UTC)
OLD = 30 * 24 * 3600.0  # seconds


def fingerprint(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def release(number: int = 1, name: str = NAME, zone: str = "synthetic", **fields: Any) -> Release:
    """Return a release of two files."""
    folder = f"{zone}/{name}/{fingerprint(number)[:12]}-0a0b0c0d"
    files = tuple(FileEntry(f"{folder}/part-{i:05}.parquet", 4, 10 + i, str(i) * 64) for i in range(2))
    made: dict[str, Any] = {
        "dataset": name,
        "version": number,
        "zone": zone,
        "published_at": AT,
        "fingerprint": fingerprint(number),
        "contract": {"version": "1.0.0", "digest": "c" * 64},
        "columns": ({"name": "größe", "type": "number", "class": "plain", "key": "synthetic/plain"},),
        "files": files,
        "rows": 21,
        "keys": ("age:/keys#synthetic/footer", "age:/keys#synthetic/plain"),
        "treatments": {"people": {"columns": {"name": "delete"}}},
        "parents": {"people": [{"partition": "2026-10-26", **REF.as_dict()}]},
        "run": {"dag": "", "run": ""},
        "evidence": REF,
        "source": REF,
        "code": {"cloakhouse": "0.4.0"},
        "card": {"title": "people", "share": 0.1},
    }
    return Release(**made | fields)


def row(made: Release, ref: ManifestRef = REF) -> DatasetVersion:
    """Return what the register has of a release."""
    facts = (made.dataset, made.version, made.fingerprint, made.zone, made.rows)
    return DatasetVersion(*facts, ref, made.published_at)


def published(register: VersionRegister, name: str = NAME, count: int = 1) -> list[DatasetVersion]:
    """Publish `count` versions more, in the register alone."""
    done = []
    for _ in range(count):
        number = register.reserve(name, fingerprint(register.reserved(name) + 1))
        assert isinstance(number, int)
        done.append(register.publish(row(release(number, name)), by("ann")))
    return done


@dataclass(frozen=True)
class Shelf:
    """An installation with versions whose files are a few bytes each: the collector doesn't look into them."""

    settings: Settings

    @classmethod
    def at(cls, folder: Path) -> Shelf:
        return cls(installation(folder))

    @property
    def register(self) -> VersionRegister:
        return VersionRegister(self.settings.database)

    @property
    def store(self) -> ObjectStore:
        return open_store(self.settings)

    def publish(self, name: str = NAME, zone: str = "synthetic") -> DatasetVersion:
        """Publish the next version with files, a model and the manifests around them, all long ago."""
        register = self.register
        number = register.reserve(name, fingerprint(register.reserved(name) + 1))
        assert isinstance(number, int)
        made = release(number, name, zone)
        for entry in made.files:
            self.put(entry.path)
        self.put(f"models/{name}/{made.fingerprint[:16]}-0.model")
        if zone == "synthetic":
            self.synthesis(made, age_s=OLD)
        ref = write_release(self.store, signing_key(self.settings, SIGNER), made)
        return register.publish(row(made, ref), by("ann"))

    def synthesis(self, made: Release, age_s: float) -> ManifestRef:
        """Write the manifest of a synthesis, `age_s` seconds ago."""
        files = [entry.as_dict() for entry in made.files]
        content = {"dataset": made.dataset, "fingerprint": made.fingerprint, "files": files}
        ref = write_manifest(self.store, f"synthetic/{made.dataset}", "synthesis", content)
        self.age(ref.path, age_s)
        return ref

    def put(self, path: str, age_s: float = OLD) -> str:
        """Write four bytes at `path`, `age_s` seconds ago, and return it."""
        assert self.store.create(path, b"PARE")
        self.age(path, age_s)
        return path

    def age(self, path: str, age_s: float) -> None:
        moment = dt.datetime.now().timestamp() - age_s
        os.utime(self.settings.lake / path, (moment, moment))

    def files(self, folder: str = "") -> set[str]:
        """Return the data and the models in the lake."""
        return {i.path for i in self.store.list(folder) if i.path.endswith((".parquet", ".model"))}
