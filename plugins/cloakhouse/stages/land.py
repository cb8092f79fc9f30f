"""Land: the delivered file, encrypted byte for byte before anything else looks into it.

For each file of the dataset in the inbox, in name order:

1. the name gives the partition; the registered contract is the one in force;
2. its SHA-256 is compared with what has landed; then one pass over the bytes: encryption into a temporary
   file, gunzip, line count, header, and the SHA-256 again, which must be the same;
3. a fault (empty, truncated, wrong header, too long a line, other content for a landed name) discards the
   temporary file and is reported; the delivery stays in the inbox and the next file goes on;
4. the encrypted file gets its name, then its manifest, then its row in the control database;
5. only then is the inbox emptied of it, where the contract says so.

Killed after 4, the next run finds the same digest landed and goes on with 5. Killed before, it starts over.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cloakhouse.contracts.model import Contract, Feed, Period
from cloakhouse.errors import CloakhouseError, ConfigurationError
from cloakhouse.keys.derive import TokenKeys
from cloakhouse.keys.files import TEMPORARY, locked, storage_error
from cloakhouse.keys.protocol import FILE, KeyService, zone_key
from cloakhouse.keys.service import open_key_service
from cloakhouse.keys.streaming import EncryptingWriter
from cloakhouse.lake.landed import LandedObject, landing
from cloakhouse.lake.manifests import write_manifest
from cloakhouse.ledger.catalogue import Catalogue, Delivery, ManifestRef
from cloakhouse.progress import Progress
from cloakhouse.settings import Settings
from cloakhouse.stages.inspection import CHUNK, Gunzip, LineCounter, check_header, refuse

LOCK_WAIT_S = 600.0
Identity = tuple[int, int, int]


@dataclass(frozen=True)
class Landed:
    """What one landing did.

    Attributes:
        manifest: reference of the landing manifest.
        landed / duplicates: numbers of files.
        rows: data rows of the landed files (headers not counted).
        refused: the refusals, as fields without values.
    """

    manifest: ManifestRef
    landed: int
    duplicates: int
    rows: int
    refused: tuple[dict[str, str], ...]


@dataclass(frozen=True)
class _Scan:
    """What one pass over a delivery found: digest, bytes, data rows, columns that the contract doesn't declare."""

    sha256: str
    bytes: int
    rows: int
    undeclared: int


class _AlreadyLanded(Exception):
    """Leaves the writer's block, so that the temporary file is discarded."""


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
        _clear_leftovers(settings.lake / "landing" / contract.name)
        if settings.token_root.exists():  # a keystore that can't open it is not the one of this lake
            TokenKeys(open_key_service(settings.keys), settings.token_root).verify()
        worker = _Landing(settings, contract, feed, catalogue, supersede)
        waiting = _waiting(settings.inbox, feed, partitions)
        for number, name in enumerate(waiting, start=1):
            worker.take(name)
            progress.step(number, len(waiting), "files")
        worker.look_for_missing(waiting, partitions)
        worker.look_for_misnamed()
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


def _waiting(inbox: Path, feed: Feed, partitions: Sequence[str] | None) -> list[str]:
    if not inbox.is_dir():
        return []
    names = sorted(entry.name for entry in inbox.iterdir() if entry.is_file())
    wanted = set(partitions) if partitions is not None else None
    found = ((name, feed.partition_of(name)) for name in names)
    return [name for name, part in found if part is not None and (wanted is None or part in wanted)]


def _clear_leftovers(folder: Path) -> None:
    """Remove temporary files of a run that was killed; the lock is held, so no other run is writing."""
    for path in folder.rglob(f".*{TEMPORARY}"):
        path.unlink(missing_ok=True)


class _Landing:
    """One run over one dataset's files; collects what was landed and what was refused."""

    def __init__(
        self, settings: Settings, contract: Contract, feed: Feed, catalogue: Catalogue, supersede: bool
    ) -> None:
        self._settings = settings
        self._contract = contract
        self._feed = feed
        self._catalogue = catalogue
        self._supersede = supersede
        self._keys: KeyService = open_key_service(settings.keys)
        self._known = catalogue.deliveries(contract.name)
        self._landed: list[Delivery] = []
        self._duplicates = 0
        self._seen: Identity | None = None
        self.refused: list[CloakhouseError] = []

    def take(self, name: str) -> None:
        """Land one file, or note why it was refused."""
        partition = self._feed.partition_of(name)
        assert partition is not None
        try:
            self._land(name, partition)
        except _AlreadyLanded:
            self._duplicates += 1
        except CloakhouseError as problem:
            if problem.retryable or problem.kind not in ("delivery",):
                raise
            self.refused.append(problem)
            return
        if self._feed.after_landing == "delete":
            path = self._settings.inbox / name
            try:
                if path.exists() and _identity(path.stat()) == self._seen:  # else a newer file took the name
                    path.unlink(missing_ok=True)
            except OSError as fault:
                raise storage_error(fault, path, "the file has landed but still lies in the inbox") from None

    def _land(self, name: str, partition: str) -> None:
        path = self._settings.inbox / name
        if dt.date.fromisoformat(partition) < self._feed.first_partition:
            raise refuse(
                name,
                f"a partition from {self._feed.first_partition} on",
                "an earlier one",
                "have the sender correct the name, or the contract its firstPartition",
                "early",
            )
        digest, self._seen = _digest(path)
        self._compare_with_landed(name, partition, digest)
        target = LandedObject(self._contract.name, partition, f"{digest[:32]}.chl")
        with landing(self._settings.lake, target, self._keys) as writer:
            scan = _copy(path, name, self._contract, self._feed, writer)
            if scan.sha256 != digest:
                raise refuse(
                    name,
                    "a file that no longer changes",
                    "content that changed while it was read",
                    "deliver under a temporary name and rename when complete",
                    "changing",
                )
        self._record(partition, target, scan)

    def _compare_with_landed(self, name: str, partition: str, digest: str) -> None:
        snapshot = self._feed.period is Period.SNAPSHOT
        if snapshot and self._known and self._known[max(self._known)][-1].sha256 == digest:
            raise _AlreadyLanded  # the state has not changed since
        for other, revisions in self._known.items():
            if any(delivery.sha256 == digest for delivery in revisions) and other != partition and not snapshot:
                raise refuse(
                    name,
                    "content that was not delivered before",
                    f"the same bytes as partition {other} (SHA-256 {digest[:12]})",
                    "have the sender deliver the right file under this name",
                    "duplicate",
                )
        revisions = self._known.get(partition, [])
        if revisions and revisions[-1].sha256 == digest:
            raise _AlreadyLanded
        if revisions and not self._supersede:
            raise refuse(
                name,
                f"the content landed for {partition} (SHA-256 {revisions[-1].sha256[:12]})",
                f"other content under the same name (SHA-256 {digest[:12]})",
                "if it is a correction, run with supersede (`cloakhouse run --supersede`, or the DAG's parameter); "
                "else have the sender rename it",
                "conflict",
            )

    def _record(self, partition: str, target: LandedObject, scan: _Scan) -> None:
        revision = len(self._known.get(partition, [])) + 1
        manifest = write_manifest(
            self._settings.lake,
            f"landing/{self._contract.name}/{partition}",
            "delivery",
            {
                "dataset": self._contract.name,
                "partition": partition,
                "revision": revision,
                "object": target.object,
                "sha256": scan.sha256,
                "bytes": scan.bytes,
                "rows": scan.rows,
                "undeclared_columns": scan.undeclared,
                "key": zone_key("landing", FILE),
                "contract": {"version": self._contract.version, "digest": self._contract.digest},
            },
        )
        delivery = Delivery(
            self._contract.name,
            partition,
            revision,
            scan.sha256,
            scan.rows,
            scan.bytes,
            manifest,
            dt.datetime.now(dt.UTC),
        )
        self._catalogue.add_delivery(delivery)
        self._known.setdefault(partition, []).append(delivery)
        self._landed.append(delivery)

    def look_for_missing(self, waiting: Sequence[str], partitions: Sequence[str] | None) -> None:
        """Note a refusal for each partition asked for that was never delivered, or for an inbox never filled."""
        seen = {self._feed.partition_of(name) for name in waiting} | self._known.keys()
        if partitions is None:
            absent = [] if seen else ["<date>"]
        else:
            absent = [partition for partition in partitions if partition not in seen]
        for partition in absent:
            self.refused.append(
                refuse(
                    self._feed.file_name(partition),
                    "the file",
                    "no file of that name, now or earlier",
                    "have the sender deliver it; the next run takes it",
                    "missing",
                )
            )

    def look_for_misnamed(self) -> None:
        """Note a refusal for each file that is almost named as ours: it would lie in the inbox unseen."""
        head, tail = self._feed.files.lower().split("{partition}")
        inbox = self._settings.inbox
        for name in sorted(entry.name for entry in inbox.iterdir() if entry.is_file()) if inbox.is_dir() else ():
            alike = name.lower().startswith(head) and name.lower().endswith(tail)
            if alike and self._feed.partition_of(name) is None:
                self.refused.append(
                    refuse(
                        f"{self._feed.files} (a file with another date or spelling)",
                        f"a name in just that spelling, with the start date of a {self._feed.period.value}",
                        "a name that differs in its date, its capitals, or in between",
                        "rename the file, or take it out of the inbox",
                        "name",
                    )
                )

    def result(self) -> Landed:
        """Write the landing manifest and return what was done."""
        manifest = write_manifest(
            self._settings.lake,
            f"landing/{self._contract.name}",
            "landing",
            {
                "dataset": self._contract.name,
                "contract": {"version": self._contract.version, "digest": self._contract.digest},
                "deliveries": [
                    {"partition": d.partition, "path": d.manifest.path, "sha256": d.manifest.sha256}
                    for d in self._landed
                ],
                "duplicates": self._duplicates,
                "refused": [problem.code for problem in self.refused],
            },
        )
        rows = sum(delivery.rows for delivery in self._landed)
        refused = tuple(problem.as_dict() for problem in self.refused)
        return Landed(manifest, len(self._landed), self._duplicates, rows, refused)


def _identity(status: os.stat_result) -> Identity:
    """Return what tells a file from another that is renamed to its name: inode, size, time of its last change."""
    return status.st_ino, status.st_size, status.st_mtime_ns


def _digest(path: Path) -> tuple[str, Identity]:
    """Return the SHA-256 (hex) of the file and its identity."""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest(), _identity(os.fstat(stream.fileno()))
    except OSError as fault:
        raise storage_error(fault, path, "the file was not landed") from None


def _copy(path: Path, name: str, contract: Contract, feed: Feed, writer: EncryptingWriter) -> _Scan:
    """Stream the file once into `writer`; return what it is. Raises DeliveryError for what can't be landed."""
    digest, size = hashlib.sha256(), 0
    lines, gunzip = LineCounter(name, feed), Gunzip(name)
    with path.open("rb") as source:
        while block := source.read(CHUNK):
            digest.update(block)
            size += len(block)
            writer.write(block)
            for piece in gunzip.pieces(block) if feed.compressed else (block,):
                lines.feed(piece)
    if feed.compressed:
        gunzip.finish()
    lines.finish()
    headers = 1 if feed.format == "csv" else 0
    if lines.lines == 0:
        raise refuse(name, "at least one line", f"none ({size} bytes)", "have the sender deliver it again", "empty")
    undeclared = check_header(name, contract, lines.first)
    if lines.lines == headers:
        raise refuse(name, "rows below the header", "a header alone", "have the sender deliver it again", "no-rows")
    return _Scan(digest.hexdigest(), size, lines.lines - headers, undeclared)
