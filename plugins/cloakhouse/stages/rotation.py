"""Rotation of master keys: a new version wraps from now on, and what older versions wrapped is wrapped again.

1. the key service adds a version to the master key;
2. each dataset key under it gets a version of its own for new files, and its older versions are wrapped anew;
3. landed files are re-wrapped in their headers, the root of the token keys and the signing keys in their files;
4. every process is told to drop the keys that it has opened.

No byte of data is read or written. Each step looks at what is there, so after a kill anywhere the next call for this
key finishes the work, and so does the next `rotate_due`. `cloakhouse.stages.rewrite` is for keys that may be known to
others.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from cloakhouse.errors import CloakhouseError, IntegrityError, KeyServiceError
from cloakhouse.keys.dataset_keys import DatasetKeyFile
from cloakhouse.keys.derive import TokenKeys, is_token_root
from cloakhouse.keys.protocol import FILE, KeyDescription, KeyName, KeyService, KeyState, zone_key
from cloakhouse.keys.ring import KeyRing
from cloakhouse.keys.shares import Shares
from cloakhouse.keys.signing import SigningKeys, master
from cloakhouse.lake.landed import LandedObject, rewrap
from cloakhouse.lake.manifests import write_manifest
from cloakhouse.lake.store.opening import open_store
from cloakhouse.lake.store.protocol import ObjectStore
from cloakhouse.ledger.audit_event import Action
from cloakhouse.ledger.audited_keys import open_ring
from cloakhouse.ledger.catalogue import ManifestRef
from cloakhouse.progress import Progress
from cloakhouse.settings import Settings
from cloakhouse.stages.auditing import event, failures_recorded, record
from cloakhouse.stages.signing import BACKUPS, SIGNERS

LANDING = zone_key("landing", FILE)


@dataclass(frozen=True)
class Rotated:
    """What one rotation did.

    Attributes:
        name: the master key.
        version: its newest version.
        dataset_keys / landed_files: how many were wrapped anew.
        token_root: whether the root of the token keys was.
    """

    name: KeyName
    version: int
    dataset_keys: int
    landed_files: int
    token_root: bool

    def as_dict(self) -> dict[str, Any]:
        """Return the fields, JSON-ready."""
        return asdict(self)


def rotate(settings: Settings, names: Iterable[KeyName], reason: str = "") -> list[Rotated]:
    """Give each master key of `names` a new version and wrap anew what the older ones wrapped; return what was done.

    One key that fails keeps no other waiting; the first failure is raised at the end: KeyServiceError (missing,
    disabled, destroyed, unreachable), AccessRefused, IntegrityError, StorageError.
    """
    ring = open_ring(settings, reason)
    done: list[Rotated] = []
    for problem in _each(names, lambda name: done.append(_rotated(settings, ring, name))).values():
        raise problem
    return done


def _rotated(settings: Settings, ring: KeyRing, name: KeyName) -> Rotated:
    ring.service.rotate(name)
    ring.announce()
    return settle(settings, ring, name)


def _each(names: Iterable[KeyName], work: Callable[[KeyName], None]) -> dict[KeyName, CloakhouseError]:
    """Do `work` for each name and return what failed, told as it happens; ends early when the service is away."""
    failed: dict[KeyName, CloakhouseError] = {}
    for name in names:
        try:
            work(name)
        except CloakhouseError as problem:
            failed[name] = problem
            Progress.of("rotate", name).trouble(problem.explain())
            if problem.code == "key.unreachable":
                break
    return failed


def settle(settings: Settings, ring: KeyRing, name: KeyName) -> Rotated:
    """Wrap anew whatever older versions of master key `name` still wrap. Nothing left to do changes nothing."""
    progress = Progress.of("rotate", name)
    current = _newest(ring.service, name)
    keys = [file for file in ring.all() if file.key.master == name and file.state is KeyState.ENABLED]
    wrapped = 0
    for number, file in enumerate(keys, start=1):
        wrapped += _settled(ring, file, current)
        progress.step(number, len(keys), "dataset keys")
    landed = _rewrap_landed(open_store(settings), ring, progress) if name == LANDING else 0
    root = is_token_root(name) and TokenKeys(ring.service, settings.token_roots).rewrap(name)
    for signer in (*SIGNERS, BACKUPS):
        if name == master(signer):
            SigningKeys(ring.service, settings.signing_keys).rewrap(signer)
    Shares(settings.key_shares).renew(ring, name)
    progress.finish(f"version {current}: {wrapped} dataset keys, {landed} landed files wrapped anew", version=current)
    return Rotated(name, current, wrapped, landed, root)


def _newest(service: KeyService, name: KeyName) -> int:
    versions = service.describe(name).versions
    if not versions:
        raise KeyServiceError(
            where=f"master key {name}",
            expected="a master key with a version",
            found="one that was destroyed",
            not_done="nothing was wrapped anew",
            remedy="none: what it wrapped can't be read any more",
            code="destroyed",
        )
    return versions[-1].version


def _settled(ring: KeyRing, file: DatasetKeyFile, current: int) -> bool:
    if file.versions[-1].master_version < current:
        ring.rotate(file.key)
    return ring.rewrap(file.key)


def landed_objects(store: ObjectStore, dataset: str | None = None) -> Iterator[LandedObject]:
    """Yield the landed files (of `dataset`), in order."""
    folder = "landing" if dataset is None else f"landing/{dataset}"
    for path in sorted(info.path for info in store.list(folder) if info.path.endswith(".chl")):
        yield LandedObject(*path.split("/")[1:])


def _rewrap_landed(store: ObjectStore, ring: KeyRing, progress: Progress) -> int:
    count, objects = 0, list(landed_objects(store))
    for number, target in enumerate(objects, start=1):
        try:
            count += rewrap(store, target, ring)
        except IntegrityError:
            if store.stat(target.path) is not None:
                raise  # else it was removed meanwhile, and needs no key any more
        progress.step(number, len(objects), "landed files")
    return count


def due(service: KeyService, period: dt.timedelta, now: dt.datetime) -> list[KeyName]:
    """Return the enabled master keys whose newest version is `period` old or older at `now` (UTC), in order."""
    described = (service.describe(name) for name in service.names())
    return [d.name for d in described if (moment := next_rotation(d, period)) is not None and moment <= now]


def next_rotation(description: KeyDescription, period: dt.timedelta) -> dt.datetime | None:
    """Return when a master key is to be rotated (UTC); None for one that isn't enabled."""
    if description.state is not KeyState.ENABLED:
        return None
    return description.versions[-1].created + period


def rotate_due(settings: Settings, period: dt.timedelta, now: dt.datetime) -> ManifestRef:
    """Rotate the master keys that are due, finish what earlier runs left, and return the report.

    The report is written in any case, with the codes of what failed. Raises as `rotate`, after all keys.
    """
    ring = open_ring(settings)
    done: list[Rotated] = []
    finished: list[Rotated] = []

    def work(name: KeyName) -> None:
        moment = next_rotation(ring.service.describe(name), period)
        if moment is None:
            return
        if moment <= now:
            done.append(_rotated(settings, ring, name))
        else:
            finished.append(settle(settings, ring, name))

    failed = _each(ring.service.names(), work)
    codes = {name: problem.code for name, problem in failed.items()}
    content = {"period_days": period.days, "rotated": _dicts(done), "settled": _dicts(finished), "failed": codes}
    reference = report(settings, "rotation", content)
    for problem in failed.values():
        raise problem
    return reference


def report(settings: Settings, kind: str, content: dict[str, Any]) -> ManifestRef:
    """Write a report on keys into the evidence; it names keys, versions and counts."""
    moment = dt.datetime.now(dt.UTC).replace(microsecond=0).isoformat()
    return write_manifest(open_store(settings), "evidence/keys", kind, {"at": moment, **content})


def shred(settings: Settings, dataset: str, reason: str = "") -> list[str]:
    """Destroy every dataset key of `dataset` in every zone; return their names, none of which opens any more.

    Its files stay where they are, unreadable. Datasets made from it have keys of their own, and stay readable. Raises
    KeyServiceError (`key.missing`) when there is no key of that dataset, and when a shredded key still opened;
    StorageError when its events can't be written: then nothing is destroyed.
    """
    ring = open_ring(settings)
    files = [file for file in ring.all() if file.key.dataset == dataset]
    if not files:
        raise KeyServiceError(
            where=f"dataset {dataset}",
            expected="a dataset that has keys",
            found="none",
            not_done="nothing was destroyed",
            remedy="name a dataset of the contracts that has been delivered",
            code="missing",
        )
    live = [file.key for file in files if file.state is not KeyState.DESTROYED]
    described = event(settings, Action.SHRED_KEY, f"dataset {dataset}", dataset=dataset, count=len(live), reason=reason)
    with failures_recorded(settings, described):
        if live:
            record(settings, *(replace(described, object=key.name, count=1) for key in live))
        for file in files:
            ring.destroy(file.key)
        _prove_shredded(open_ring(settings), [file for file in ring.all() if file.key.dataset == dataset])
    return [file.key.name for file in files]


def _prove_shredded(ring: KeyRing, files: Sequence[DatasetKeyFile]) -> None:
    for file in files:
        try:
            ring.require([file.key])
        except KeyServiceError as refused:
            if refused.code == "key.destroyed" and not file.versions:
                continue
        raise KeyServiceError(
            where=f"dataset key {file.key.name}",
            expected="no version of it, and a refusal to open it",
            found="a key that still opens, or another refusal",
            not_done="the dataset is not shredded",
            remedy="run the command again; if it stays, check who writes into `dataset-keys`",
            code="not-shredded",
        )


def _dicts(done: Sequence[Rotated]) -> list[dict[str, Any]]:
    return [rotated.as_dict() for rotated in done]
