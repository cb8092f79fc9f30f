"""How much of a lake is really encrypted, told from the bytes and not from what was intended.

Every file is opened. Encrypted Parquet is walked as the chain of modules that it must be; with a key ring its footer
is opened, and says of each column under which key it is. Landed files must have a valid header in front of their
stream, fitted synthesizers one that names them. Manifests and evidence, which have their own digest in their name,
hold no values by design and are counted apart, as records. Everything else, files left behind by an interrupted write
included, counts as not encrypted and is listed.

Without keys, bytes that were forged to look like a chain of modules pass. `deep=True` opens every module and segment
with its key, and so checks every tag.

Bytes are encrypted, plaintext, or structure (magics, headers, wrapped keys); the share is of the first two.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from cloakhouse.keys.files import storage_error
from cloakhouse.keys.ring import KeyRing
from cloakhouse.lake.footer import Protection
from cloakhouse.lake.inspection import inspect
from cloakhouse.lake.report import Finding, Kind
from cloakhouse.lake.store.folder import FolderStore
from cloakhouse.lake.store.protocol import ObjectStore

__all__ = ["Coverage", "Finding", "Kind", "Place", "PlaceCoverage", "Protection", "coverage"]


class Place(StrEnum):
    """What kind of file the bytes are in."""

    PARQUET = "parquet"
    LANDED = "landed"
    SEALED = "sealed"
    RECORD = "record"
    OTHER = "other"


@dataclass(frozen=True)
class PlaceCoverage:
    """What was found in the files of one kind of one zone and dataset.

    Attributes:
        zone, dataset: the first two folders; empty for files that lie outside.
        files: number of files.
        encrypted, plaintext, structure: bytes.
        columns: number of columns by Protection, added up over files.
        unopened: files of which the columns are unknown, for want of a ring or of a key.
        checked: bytes whose tags were checked (deep only).
    """

    zone: str
    dataset: str
    place: Place
    files: int
    encrypted: int
    plaintext: int
    structure: int
    columns: dict[Protection, int]
    unopened: int
    checked: int


@dataclass(frozen=True)
class Coverage:
    """What a walk over the lake found. `findings` lists every file that is not encrypted as agreed, by path."""

    parts: tuple[PlaceCoverage, ...]
    findings: tuple[Finding, ...]

    @property
    def data(self) -> tuple[PlaceCoverage, ...]:
        """The parts that are not records."""
        return tuple(part for part in self.parts if part.place is not Place.RECORD)

    @property
    def encrypted_bytes(self) -> int:
        """Bytes of data within encrypted modules and streams."""
        return sum(part.encrypted for part in self.data)

    @property
    def plaintext_bytes(self) -> int:
        """Bytes of data outside of them, damaged files included."""
        return sum(part.plaintext for part in self.data)

    @property
    def byte_share(self) -> float:
        """Share of the data's bytes that is encrypted, 0 to 1; 1 for an empty lake."""
        total = self.encrypted_bytes + self.plaintext_bytes
        return self.encrypted_bytes / total if total else 1.0

    @property
    def columns(self) -> dict[Protection, int]:
        """Number of columns by how they are encrypted, added up over the files that were opened."""
        return {kind: sum(part.columns.get(kind, 0) for part in self.data) for kind in Protection}

    @property
    def column_share(self) -> float | None:
        """Share of the columns that have a key of their class, 0 to 1; None when no footer was opened."""
        columns = self.columns
        total = sum(columns.values())
        return columns[Protection.OWN] / total if total else None

    @property
    def complete(self) -> bool:
        """Whether every file of data is encrypted as agreed."""
        return not self.findings


def coverage(lake: ObjectStore | Path, ring: KeyRing | None = None, *, deep: bool = False) -> Coverage:
    """Return what is encrypted in `lake`. With `ring` footers are opened, with `deep` every tag is checked.

    A path is the folder that holds a lake. Objects of a server are looked at as copies in the cache. An object that is
    damaged, unreadable or anything else is a finding, never an error; symbolic links are not followed. Memory: a footer
    and a module at a time. Raises StorageError when the lake itself can't be read.
    """
    store = FolderStore(lake) if isinstance(lake, Path) else lake
    totals: dict[tuple[str, str, Place], Counter[str]] = {}
    findings: list[Finding] = []
    for path, size in _everything(store, findings):
        report = inspect(store, path, size, ring, deep=deep)
        if report is None:
            continue  # it vanished meanwhile
        findings += report.findings
        total = totals.setdefault((*_zone_and_dataset(path), Place(report.place)), Counter())
        total += Counter(files=1, encrypted=report.encrypted, plaintext=report.plaintext, structure=report.structure)
        total += Counter(unopened=report.unopened, checked=report.checked)
        total += Counter({f"column {kind}": count for kind, count in report.columns.items()})
    return Coverage(tuple(_part(*key, total) for key, total in sorted(totals.items())), tuple(findings))


def _part(zone: str, dataset: str, place: Place, total: Counter[str]) -> PlaceCoverage:
    columns = {kind: total[f"column {kind}"] for kind in Protection}
    numbers = {name: total[name] for name in ("files", "encrypted", "plaintext", "structure", "unopened", "checked")}
    return PlaceCoverage(zone, dataset, place, columns=columns, **numbers)


def _zone_and_dataset(path: str) -> tuple[str, str]:
    folders = path.split("/")[:-1]
    return (folders[0] if folders else "", folders[1] if len(folders) > 1 else "")


def _everything(store: ObjectStore, findings: list[Finding]) -> Iterator[tuple[str, int]]:
    if isinstance(store, FolderStore):
        return _files(store.root, findings)
    return ((info.path, info.bytes) for info in store.list())


def _files(lake: Path, findings: list[Finding]) -> Iterator[tuple[str, int]]:
    """Yield (path within the lake, bytes) of every regular file, in order; the rest becomes findings."""
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(lake / folder) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except FileNotFoundError:
            continue
        except OSError as fault:
            if not folder:
                raise storage_error(fault, lake, "nothing of the lake was looked at") from None
            findings.append(Finding(folder, Kind.UNREADABLE, "the folder can't be read"))
            continue
        for entry in found:
            path = f"{folder}/{entry.name}" if folder else entry.name
            try:
                if entry.is_symlink():
                    findings.append(Finding(path, Kind.UNREADABLE, "a symbolic link, not followed"))
                elif entry.is_dir(follow_symlinks=False):
                    waiting.append(path)
                elif entry.is_file(follow_symlinks=False):
                    yield path, entry.stat(follow_symlinks=False).st_size
                else:
                    findings.append(Finding(path, Kind.UNREADABLE, "neither a file nor a folder"))
            except FileNotFoundError:
                continue
