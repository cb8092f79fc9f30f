"""Which files of one dataset are needed, and which may go.

A file is needed by every version whose files are kept: a published one, one that is held, and one that was withdrawn or
expired less than the grace ago. A file that no release lists is left while it is younger than the grace, while an
unfinished run may need it (a synthesis whose manifest is younger than the grace, an answer that was paid for), while a
rewrite of the dataset's keys is at work, and while a file that a version needs is missing: the control database may
then be older than the lake, and what it doesn't know of be what replaced that file. Whatever isn't a Parquet file below
the folder of a run stays: releases, manifests, and what has a name that the lake gives to no file.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

from cloakhouse.errors import IntegrityError
from cloakhouse.lake.manifests import read_named
from cloakhouse.lake.release_checks import ZONES
from cloakhouse.lake.releases import FOLDER, Release
from cloakhouse.lake.store.protocol import ObjectInfo, ObjectStore, checked_path
from cloakhouse.ledger.versions import DatasetVersion, VersionRegister, VersionState
from cloakhouse.settings import Settings
from cloakhouse.stages.version_checks import open_release

SHORTEST_LEFTOVER = dt.timedelta(hours=1)  # a younger file that no release lists may be one that is being published
UNLISTED = "no release lists it"


@dataclass(frozen=True)
class Going:
    """One object that may go, and why."""

    path: str
    bytes: int
    why: str

    @property
    def folder(self) -> str:
        """The folder that it lies in."""
        return self.path.rpartition("/")[0]


def due(register: VersionRegister, dataset: str, before: dt.datetime) -> list[DatasetVersion]:
    """Return the versions whose files may go: withdrawn or expired by `before`, not held; and those that a collector
    which was killed had begun with."""
    since: dict[int, dt.datetime] = {}
    begun: set[int] = set()
    for event in register.events(dataset):
        if event.action in ("withdraw", "expire"):
            since.setdefault(event.version, event.at)
        elif event.action == "collect":
            begun.add(event.version)
    held = {hold.version for hold in register.holds(dataset)}
    gone = [v for v in register.versions(dataset) if v.state in (VersionState.WITHDRAWN, VersionState.EXPIRED)]
    return [v for v in gone if v.version in begun or (since[v.version] <= before and v.version not in held)]


@dataclass
class Choice:
    """What may go of one dataset, when the versions of the numbers `gone` do. Memory is that of one release at a time.

    `young` is the moment from which on a file that no release lists is left; None leaves all of these. `incomplete`
    tells, after `going`, whether a file that is needed was not there.
    """

    settings: Settings
    store: ObjectStore
    versions: Sequence[DatasetVersion]
    gone: Collection[int]
    dataset: str
    young: dt.datetime | None
    unreadable: dict[str, IntegrityError] = field(default_factory=dict)
    incomplete: bool = False
    _folders: dict[str, list[DatasetVersion]] = field(default_factory=dict)
    _held_open: tuple[DatasetVersion, Release] | None = None

    @classmethod
    def of(
        cls,
        settings: Settings,
        store: ObjectStore,
        register: VersionRegister,
        gone: Sequence[DatasetVersion],
        dataset: str,
        young: dt.datetime | None,
    ) -> Choice:
        """Return the choice, every release that matters read once.

        Raises IntegrityError for the release of a version that is needed; that of one which goes may be `unreadable`.
        """
        numbers = {version.version for version in gone}
        made = cls(settings, store, register.versions(dataset), numbers, dataset, young)
        for version in made.versions:
            if version.state is not VersionState.COLLECTED:
                made._note(version, needed=version.version not in numbers)
        return made

    def going(self) -> Iterator[Going]:
        """Yield what may go, folder by folder. Raises IntegrityError as `of`, StorageError."""
        unseen = {f for f, versions in self._folders.items() if any(self._needs(v) for v in versions)}
        missing = 0
        for zone in ZONES:
            folder, named = "", dict[str, DatasetVersion]()
            awaited: Collection[str] = self._awaited(zone) if self.young is not None else ()
            for info in self.store.list(f"{zone}/{self.dataset}"):
                here = info.path.rpartition("/")[0]
                if here != folder:
                    folder, named = here, self._named_in(here)
                if here in unseen:
                    unseen.discard(here)
                    missing += sum(map(self._needs, named.values()))
                version = named.get(info.path)
                missing -= version is not None and self._needs(version)
                why = self._why(info, version, here in awaited)
                if why:
                    yield Going(info.path, info.bytes, why)
        self.incomplete = bool(missing or unseen)
        yield from self._models()

    def _needs(self, version: DatasetVersion) -> bool:
        return version.version not in self.gone

    def _why(self, info: ObjectInfo, version: DatasetVersion | None, awaited: bool) -> str:
        """Return why an object may go, an empty text when it may not."""
        if version is not None:
            return "" if self._needs(version) else f"{version.name} is {version.state.value}"
        parts = info.path.split("/")
        if awaited or len(parts) < 4 or parts[2] == FOLDER or not info.path.endswith(".parquet"):
            return ""
        return UNLISTED if self.young is not None and info.modified < self.young and _is_ours(info.path) else ""

    def _models(self) -> Iterator[Going]:
        """Yield the fitted synthesizers of versions that are gone."""
        over = [v for v in self.versions if not self._needs(v) or v.state is VersionState.COLLECTED]
        ended = {v.fingerprint[:16]: v for v in over}
        needed = {v.fingerprint[:16] for v in self.versions if v not in over}
        for info in self.store.list(f"models/{self.dataset}"):
            stem = info.path.rpartition("/")[2].split("-")[0]
            if stem in ended and stem not in needed and info.path.endswith(".model"):
                yield Going(info.path, info.bytes, f"model of {ended[stem].name}")

    def _note(self, version: DatasetVersion, *, needed: bool) -> None:
        try:
            release = self._open(version)
        except IntegrityError as fault:
            if needed:
                raise
            self.unreadable[version.name] = fault
            return
        for folder in {entry.path.rpartition("/")[0] for entry in release.files}:
            self._folders.setdefault(folder, []).append(version)

    def _named_in(self, folder: str) -> dict[str, DatasetVersion]:
        """Return the files below `folder` that a release lists, each with the version that needs it most."""
        found: dict[str, DatasetVersion] = {}
        for version in sorted(self._folders.get(folder, ()), key=lambda v: v.version not in self.gone):
            paths = (entry.path for entry in self._open(version).files)
            found |= {path: version for path in paths if path.rpartition("/")[0] == folder}
        return found

    def _open(self, version: DatasetVersion) -> Release:
        if self._held_open is None or self._held_open[0] != version:
            self._held_open = version, open_release(self.settings, version)
        return self._held_open[1]

    def _awaited(self, zone: str) -> set[str]:
        """Return the folders of runs that are not finished: made, and not published yet."""
        known = {version.fingerprint for version in self.versions}
        evidence = f"evidence/{self.dataset}"
        manifests = self.store.list(f"{zone}/{self.dataset}" if zone == "synthetic" else evidence)
        name = "/synthesis-" if zone == "synthetic" else "/validation-"
        found: set[str] = set()
        for info in manifests:
            if name not in info.path or (zone == "synthetic" and self.young and info.modified < self.young):
                continue
            _, content = read_named(self.store, info.path)
            if content.get("fingerprint") not in known:
                found |= {item["path"].rpartition("/")[0] for item in content.get("files", ())}
        return found


def _is_ours(path: str) -> bool:
    """Return whether the lake gives such paths to its files: no other is ever removed."""
    try:
        return checked_path(path) == path
    except IntegrityError:
        return False
