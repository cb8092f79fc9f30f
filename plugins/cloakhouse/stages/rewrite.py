"""Rewrite: after a compromise, data is encrypted again under new keys, and the old dataset keys are destroyed.

A job per master key, whose state is one file; the same call goes on where it stands, also after a kill anywhere:

1. the master key and its dataset keys get new versions; the job notes which, and from then on counts as begun;
2. partition by partition (version by version), files that still need an older version are written again beside the
   old ones, then a new manifest (of a version: a new signed release), then one row in the control database: readers see
   the old or the new, both whole; landed files are replaced in one step;
3. when nothing visible needs an older version, the grace begins: readers that opened the old manifest finish;
4. after the grace, dataset by dataset, with landing and pseudonymization kept away: once more nothing visible needs
   an older version; then files below the new versions that nothing points to are removed and the old versions of the
   dataset key destroyed. What came in between under an old key is rewritten first, by the next call;
5. the job's file is removed.

The audit log has an event `rewrite key` of the begin, of each end of old versions before they are destroyed, and of
the end (fact `step`), and of each call between that encrypted anything again.

Partitions that wait for their validation are left until it is done, since it marks them by their manifest; the
grace begins after that. Who kept an old file and an old dataset key keeps what he has: nothing takes that back.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from cloakhouse.errors import ConfigurationError, IntegrityError, KeyServiceError
from cloakhouse.keys.dataset_keys import DatasetKey
from cloakhouse.keys.derive import is_token_root
from cloakhouse.keys.files import locked
from cloakhouse.keys.protocol import KeyName, KeyState
from cloakhouse.keys.ring import KeyRing
from cloakhouse.lake.landed import LandedObject, rewrap
from cloakhouse.lake.manifests import read_manifest, write_manifest
from cloakhouse.lake.parquet import FileEntry, TableStore
from cloakhouse.lake.reencryption import MARK, key_versions, reencrypt_landed, reencrypt_table
from cloakhouse.lake.releases import SIGNER, Release, write_release
from cloakhouse.lake.store.opening import open_store
from cloakhouse.ledger.audit_event import Action, Event
from cloakhouse.ledger.audited_keys import named, open_ring
from cloakhouse.ledger.catalogue import Catalogue, ManifestRef
from cloakhouse.ledger.versions import DatasetVersion, VersionRegister
from cloakhouse.progress import Progress
from cloakhouse.settings import Settings
from cloakhouse.stages.auditing import event, failures_recorded, record
from cloakhouse.stages.rewrite_job import RewriteJob
from cloakhouse.stages.rotation import LANDING, landed_objects, rotate
from cloakhouse.stages.signing import signing_key
from cloakhouse.stages.version_checks import open_release

LOCK_WAIT_S = 600.0
LISTS = ("files", "quarantine")
Clock = Callable[[], dt.datetime]


@dataclass(frozen=True)
class Rewritten:
    """How far a rewrite came in one call.

    Attributes:
        name: the master key.
        rewritten / removed: files encrypted again, and old ones removed, in this call.
        retired: old versions of dataset keys destroyed in this call.
        waiting: partitions left because they wait for validation.
        state: `done`, or what it waits for.
    """

    name: KeyName
    rewritten: int
    removed: int
    retired: int
    waiting: int
    state: str

    @property
    def done(self) -> bool:
        """Whether the job is finished."""
        return self.state == "done"

    def as_dict(self) -> dict[str, Any]:
        """Return the fields, JSON-ready."""
        return asdict(self)


def utc_now() -> dt.datetime:
    """Return this moment (UTC)."""
    return dt.datetime.now(dt.UTC)


def rewrite(
    settings: Settings, name: KeyName, grace: dt.timedelta, clock: Clock = utc_now, *, reason: str = ""
) -> Rewritten:
    """Begin the rewrite of everything under master key `name`, or go on with it, and return how far it came.

    Raises KeyServiceError, IntegrityError for a damaged file (nothing of its partition changes), StorageError,
    StageError when another rewrite of this key is at work, ConfigurationError for the key of the token root.
    """
    if is_token_root(name):
        raise ConfigurationError(
            where=f"rewrite of {name}",
            expected="a master key of data",
            found="the key of a token root, from which tokens follow",
            not_done="nothing was rotated or encrypted again",
            remedy=f"`cloakhouse keys rotate {name}` wraps the root anew; other tokens need another domain or purpose",
        )
    with locked(settings.home / "locks" / f"rewrite-{name.replace('/', '-')}.lock", 1.0, f"rewrite of {name}"):
        work = _Rewrite(settings, name, clock, reason)
        with failures_recorded(settings, work.event("failed", 0)):
            result = work.run(grace)
            if result.rewritten and not result.done:
                record(settings, work.event("going on", result.rewritten))
    work.progress.finish(f"{result.rewritten} files encrypted again; {result.state}", removed=result.removed)
    return result


class _Rewrite:
    """One call of a rewrite."""

    def __init__(self, settings: Settings, name: KeyName, clock: Clock, reason: str = "") -> None:
        self._clock = clock
        self._reason = reason
        self._settings = settings
        self._name = name
        self._ring: KeyRing = open_ring(settings, reason)
        self._store = TableStore(open_store(settings), self._ring)
        self._catalogue = Catalogue(settings.database)
        self._register = VersionRegister(settings.database)
        self._rewritten = self._waiting = 0
        self.progress = Progress.of("rewrite", name)

    def run(self, grace: dt.timedelta) -> Rewritten:
        """Go from the job's state to the next place where it has to wait, or to its end."""
        job = RewriteJob.find(self._settings.home, self._name) or self._begin()
        keys = self._not_shredded(job)
        for number, key in enumerate(keys, start=1):
            job = self._rewrite_dataset(job, key)
            self.progress.step(number, len(keys), "datasets")
        if self._waiting:
            state = f"waits for the validation of {self._waiting} partitions; run again after it"
            return self._result(0, 0, state)
        moved = self._rewritten and self._name != LANDING  # landed files are replaced under their names
        if moved or job.visible_since is None:
            job = job.all_visible(self._clock())
            job.write(self._settings.home)
        assert job.visible_since is not None
        until = job.visible_since + grace
        if self._clock() < until:
            return self._result(0, 0, f"old files stay for their readers until {until.isoformat()}; run again then")
        removed = retired = 0
        for key in keys:
            with self._locked(key.dataset):
                if not self._unneeded(job, key):
                    return self._result(removed, retired, f"{key.dataset} has new files under an old key; run again")
                removed += self._remove_old(job, key)
                retired += self._retire(key, job.targets[key])
        record(self._settings, self.event("done", self._rewritten, removed=removed, retired=retired))
        job.remove(self._settings.home)
        return self._result(removed, retired, "done")

    def event(self, step: str, count: int, dataset: str = "", **facts: str | int) -> Event:
        """Return the event of a step of this rewrite; `count` as the step says: files, or versions of keys."""
        about = {"step": step, **facts}
        return event(
            self._settings,
            Action.REWRITE_KEY,
            named(self._name),
            dataset=dataset,
            count=count,
            reason=self._reason,
            facts=about,
        )

    def _retire(self, key: DatasetKey, below: int) -> int:
        """Destroy the versions of `key` below `below`, recorded before, and return how many there were."""
        [file] = [file for file in self._ring.all() if file.key == key]
        old = sum(version.version < below for version in file.versions)
        if old:
            record(self._settings, self.event("old versions destroyed", old, key.dataset, key=key.name, below=below))
        return self._ring.retire(key, below)

    def _not_shredded(self, job: RewriteJob) -> list[DatasetKey]:
        """Return the job's dataset keys without those that were destroyed since it began: nothing opens their files."""
        shredded = {file.key for file in self._ring.all() if file.state is KeyState.DESTROYED}
        return [key for key in job.targets if key not in shredded]

    def _begin(self) -> RewriteJob:
        record(self._settings, self.event("begun", 0))
        rotate(self._settings, [self._name], self._reason)
        keys = [f for f in self._ring.all() if f.key.master == self._name and f.state is KeyState.ENABLED]
        job = RewriteJob(self._name, self._clock(), {file.key: file.newest for file in keys}, None, frozenset())
        job.write(self._settings.home)
        return job

    def _result(self, removed: int, retired: int, state: str) -> Rewritten:
        return Rewritten(self._name, self._rewritten, removed, retired, self._waiting, state)

    def _rewrite_dataset(self, job: RewriteJob, key: DatasetKey) -> RewriteJob:
        if self._name == LANDING:
            return self._rewrite_landed(job, key)
        for partition in self._catalogue.protected(key.dataset).values():
            with self._locked(key.dataset):
                current = self._catalogue.protected(key.dataset)[partition.partition]
                content = read_manifest(open_store(self._settings), current.manifest)
                stale = self._stale(job, _listed(content), key)
                if stale and not current.validated:
                    self._waiting += 1
                elif stale:
                    self._swap(current.manifest, content, stale)
        with self._locked(key.dataset):  # a rewrite of another class would take a file that isn't listed yet for old
            for version in self._register.kept(key.dataset):
                release = open_release(self._settings, version)
                stale = self._stale(job, release.files, key)
                if stale:
                    self._release_again(version, release, stale)
        return job

    def _rewrite_landed(self, job: RewriteJob, key: DatasetKey) -> RewriteJob:
        """Landed files are noted one by one: their re-wrapped headers don't tell under which key the data key began."""
        for target in landed_objects(open_store(self._settings), key.dataset):
            if target.path not in job.done:
                with self._locked(key.dataset):
                    job = self._landed_again(job, target)
        return job

    def _landed_again(self, job: RewriteJob, target: LandedObject) -> RewriteJob:
        reencrypt_landed(open_store(self._settings), target, self._ring)
        job = job.with_done(target.path)
        job.write(self._settings.home)
        self._rewritten += 1
        return job

    def _unneeded(self, job: RewriteJob, key: DatasetKey) -> bool:
        """Return whether no file needs an older version of `key`; landed files that do are done here and now.

        The dataset's lock is held, so that nothing can come between this and the end of the old versions.
        """
        if self._name != LANDING:
            return not self._stale(job, self._visible(key), key)
        for target in landed_objects(open_store(self._settings), key.dataset):
            if target.path not in job.done:
                job = self._landed_again(job, target)
            rewrap(open_store(self._settings), target, self._ring)
        return True

    def _locked(self, dataset: str) -> Any:
        """Keep landing and pseudonymization of the dataset away for the length of one partition."""
        return locked(self._settings.home / "locks" / f"{dataset}.lock", LOCK_WAIT_S, f"rewriting {dataset}")

    def _stale(self, job: RewriteJob, entries: Sequence[FileEntry], key: DatasetKey) -> list[FileEntry]:
        """Return the files that lie in the key's zone and need a version below the job's."""
        inside = [entry for entry in entries if entry.path.startswith(f"{key.zone}/{key.dataset}/")]
        return [entry for entry in inside if self._needs_old(job, entry.path)]

    def _needs_old(self, job: RewriteJob, path: str) -> bool:
        used = key_versions(open_store(self._settings), path, self._ring)
        return any(used.get(key, version) < version for key, version in job.targets.items())

    def _swap(self, ref: ManifestRef, content: dict[str, Any], stale: Sequence[FileEntry]) -> None:
        """Write the stale files again and have the catalogue point to a manifest that lists the new ones."""
        fresh = {e.path: reencrypt_table(e, self._store).as_dict() for e in stale}
        lists = {name: [fresh.get(item["path"], item) for item in content[name]] for name in LISTS if name in content}
        folder = ref.path.rsplit("/", 1)[0]
        body = {name: value for name, value in content.items() if name not in ("format", "kind")}
        manifest = write_manifest(
            open_store(self._settings), folder, content["kind"], {**body, **lists, "rewritten_from": ref.as_dict()}
        )
        if self._catalogue.replace_manifest(ref, manifest):
            self._rewritten += len(stale)

    def _release_again(self, version: DatasetVersion, release: Release, stale: Sequence[FileEntry]) -> None:
        """Write the stale files of a version again and have the register point to a release that lists the new ones."""
        fresh = {entry.path: reencrypt_table(entry, self._store) for entry in stale}
        files = tuple(fresh.get(entry.path, entry) for entry in release.files)
        signer = signing_key(self._settings, SIGNER)
        again = replace(release, files=files, replaces=version.manifest)
        if self._register.replace_manifest(version.manifest, write_release(open_store(self._settings), signer, again)):
            self._rewritten += len(stale)

    def _remove_old(self, job: RewriteJob, key: DatasetKey) -> int:
        """Remove files of the dataset that need an old version and that nothing points to; return how many."""
        listed = {entry.path for entry in self._visible(key)}
        count = 0
        store, folder = open_store(self._settings), f"{key.zone}/{key.dataset}"
        for info in store.list(folder):
            name = info.path
            if name.endswith(".parquet") and name not in listed and self._is_old(job, name):
                count += store.delete(name)
        store.clear_leftovers(folder, marked=MARK)
        return count

    def _is_old(self, job: RewriteJob, name: str) -> bool:
        """Return whether a file that nothing points to is a leftover: of an old version, or of a killed rewrite."""
        try:
            return MARK in name or self._needs_old(job, name)
        except IntegrityError:
            return False  # damaged: for a person to look at
        except KeyServiceError as refused:
            if refused.code in ("key.missing", "key.destroyed"):
                return False  # a footer that nobody opens any more keeps no other file waiting
            raise

    def _visible(self, key: DatasetKey) -> list[FileEntry]:
        """Return the files that the control database points to, as they are now."""
        store = open_store(self._settings)
        partitions = self._catalogue.protected(key.dataset).values()
        protected = [entry for p in partitions for entry in _listed(read_manifest(store, p.manifest))]
        versions = self._register.kept(key.dataset)
        return protected + [entry for v in versions for entry in open_release(self._settings, v).files]


def _listed(content: dict[str, Any]) -> list[FileEntry]:
    """Return the files that the manifest of a partition lists."""
    return [FileEntry(**item) for name in LISTS for item in content.get(name, ())]


def unfinished(settings: Settings) -> list[KeyName]:
    """Return the master keys whose rewrite has begun and not ended, in order. Raises CloakhouseError."""
    return [job.name for job in RewriteJob.all(settings.home)]
