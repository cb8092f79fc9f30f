"""One landing run over the waiting files of one dataset; the steps stand in `cloakhouse.stages.land`."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, replace

from cloakhouse.contracts.model import Contract, Feed, Period
from cloakhouse.errors import CloakhouseError
from cloakhouse.keys.files import storage_error
from cloakhouse.lake.landed import LandedObject, landing
from cloakhouse.lake.manifests import write_manifest
from cloakhouse.lake.store.opening import open_store
from cloakhouse.ledger.audit_event import FAILED, REFUSED, Action
from cloakhouse.ledger.audited_keys import open_ring
from cloakhouse.ledger.catalogue import Catalogue, Delivery, ManifestRef
from cloakhouse.settings import Settings
from cloakhouse.stages import inbox
from cloakhouse.stages.auditing import event, record
from cloakhouse.stages.inspection import refuse
from cloakhouse.stages.scan import Identity, Scan, digest_of, encrypt
from cloakhouse.stages.splits import SPLIT_BYTES


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


class _AlreadyLanded(Exception):
    """Leaves the writer's block, so that the temporary file is discarded."""


class LandingRun:
    """One run over one dataset's files; collects what was landed and what was refused."""

    def __init__(
        self,
        settings: Settings,
        contract: Contract,
        feed: Feed,
        catalogue: Catalogue,
        supersede: bool,
        split_bytes: int = SPLIT_BYTES,
    ) -> None:
        self._settings = settings
        self._contract = contract
        self._feed = feed
        self._catalogue = catalogue
        self._supersede = supersede
        self._split_bytes = split_bytes
        self._ring = open_ring(settings)
        self._by = event(settings, Action.LAND, contract.name, dataset=contract.name)
        self._known = catalogue.deliveries(contract.name)
        self._ended = catalogue.expired(contract.name)
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
            self._note(problem, partition)
            if not _is_refusal(problem):
                raise
            return
        if self._feed.after_landing == "delete":
            path = self._settings.inbox / name
            try:
                if path.exists() and Identity.of(path.stat()) == self._seen:  # else a newer file took the name
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
        digest, self._seen = digest_of(path)
        self._compare_with_landed(name, partition, digest)
        target = LandedObject(self._contract.name, partition, f"{digest[:32]}.chl")
        with landing(open_store(self._settings), target, self._ring, plain_bytes=self._seen.bytes) as writer:
            scan = encrypt(path, name, self._contract, self._feed, writer, self._split_bytes)
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
        if partition in self._ended:
            raise refuse(
                name,
                "a partition that the contract still keeps",
                f"other content for {partition}, whose rows were deleted when their retention had passed",
                "have the sender stop delivering it; it is not made again",
                "expired",
            )
        if revisions and not self._supersede:
            raise refuse(
                name,
                f"the content landed for {partition} (SHA-256 {revisions[-1].sha256[:12]})",
                f"other content under the same name (SHA-256 {digest[:12]})",
                "if it is a correction, run with supersede (`cloakhouse run --supersede`, or the DAG's parameter); "
                "else have the sender rename it",
                "conflict",
            )

    def _record(self, partition: str, target: LandedObject, scan: Scan) -> None:
        revision = len(self._known.get(partition, [])) + 1
        manifest = write_manifest(
            open_store(self._settings),
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
                "splits": list(scan.splits),
                "undeclared_columns": scan.undeclared,
                "key": target.key.name,
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
        self._catalogue.add_delivery(delivery, self._by)
        self._known.setdefault(partition, []).append(delivery)
        self._landed.append(delivery)

    def look_around(self, waiting: Sequence[str], partitions: Sequence[str] | None) -> None:
        """Note a refusal for each partition asked for that never came, and for each file that is almost named right."""
        for partition in inbox.missing(self._feed, waiting, self._known, partitions):
            self._note(inbox.absent(self._feed, partition), partition if partitions is not None else "")
        for problem in inbox.misnamed(self._settings.inbox, self._feed):
            self._note(problem, "")

    def _note(self, problem: CloakhouseError, partition: str) -> None:
        """Record what was refused, or failed. The event names the partition: a file's name may be anything."""
        refused = _is_refusal(problem)
        what = f"{self._contract.name}/{partition}" if partition else self._contract.name
        decision = REFUSED if refused else FAILED
        record(self._settings, replace(self._by, object=what, decision=decision, code=problem.code))
        if refused:
            self.refused.append(problem)

    def result(self) -> Landed:
        """Write the landing manifest and return what was done."""
        manifest = write_manifest(
            open_store(self._settings),
            f"landing/{self._contract.name}",
            "landing",
            {
                "dataset": self._contract.name,
                "contract": {"version": self._contract.version, "digest": self._contract.digest},
                "deliveries": [{"partition": d.partition, **d.manifest.as_dict()} for d in self._landed],
                "duplicates": self._duplicates,
                "refused": [problem.code for problem in self.refused],
            },
        )
        rows = sum(delivery.rows for delivery in self._landed)
        refused = tuple(problem.as_dict() for problem in self.refused)
        return Landed(manifest, len(self._landed), self._duplicates, rows, refused)


def _is_refusal(problem: CloakhouseError) -> bool:
    """Return whether the delivery itself is at fault: other files go on."""
    return problem.kind == "delivery" and not problem.retryable
