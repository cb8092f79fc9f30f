"""Old versions of objects in a bucket that keeps them: what was overwritten, or deleted by somebody else's tool.

`S3Store.delete` takes every version of an object with it. Three things leave old versions all the same: an object that
is written anew under its name, a tool or a lifecycle rule that deletes by a marker, and a process that looked at the
bucket before its versioning was turned on. Whoever may list versions reads them, so an erasure removes them.

1. All versions below the lake's prefix are listed. Those that aren't the newest are deleted, by their ids, and the
   listing begins again.
2. Delete markers go once a whole listing has no old version: a marker that goes first would bring its object back.
3. It ends with a listing that has neither.

Source: Amazon S3 User Guide, "Deleting object versions from a versioning-enabled bucket".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from cloakhouse.errors import StorageError
from cloakhouse.lake.store.protocol import ObjectStore
from cloakhouse.lake.store.s3 import S3Store
from cloakhouse.lake.store.s3_bucket import examined
from cloakhouse.lake.store.s3_calls import Calls
from cloakhouse.lake.store.s3_pages import pages
from cloakhouse.lake.store.s3_refusals import BY_CODE, CONFLICT, REFUSED, refuse

ROUNDS = 5
MOST = 1000  # deletions in one call, by S3's API
NOT_DONE = "old versions of objects may still stand, with what was erased in them"
FOLDER, NONE, REMOVED = "a folder keeps no versions", "the server keeps no versions", "no old version is left"
Spared = Callable[[str], bool]


@dataclass(frozen=True)
class OldVersions:
    """What went, in this call: old versions, delete markers; and how it stands now, for people."""

    versions: int
    markers: int
    told: str

    def as_dict(self) -> dict[str, Any]:
        """Return the fields, JSON-ready."""
        return asdict(self)


def remove_old_versions(store: ObjectStore, spared: Spared = lambda _path: False) -> OldVersions:
    """Remove every old version and delete marker of the lake, but those of paths that are `spared`; return how many.

    Raises StorageError: `storage.refused` where the bucket may keep versions and they may not be listed or deleted
    (Object Lock), `storage.conflict` while somebody else makes new ones all the time.
    """
    if not isinstance(store, S3Store):
        return OldVersions(0, 0, FOLDER)
    if not _tells(store.calls):
        return OldVersions(0, 0, NONE)
    versions = markers = 0
    for _ in range(ROUNDS):
        marks: list[dict[str, str]] = []
        old = 0
        for found, marked in _listed(store.calls, spared):
            _delete(store.calls, found)
            old += len(found)
            marks += marked
        versions += old
        if not old and not marks:
            return OldVersions(versions, markers, REMOVED)
        if not old:
            _delete(store.calls, marks)
            markers += len(marks)
    raise refuse(CONFLICT, store.uri, NOT_DONE)


def _tells(calls: Calls) -> bool:
    """Return whether the server lists versions; one that keeps none need not. Raises StorageError."""
    try:
        calls.call("list_object_versions", calls.place.uri, NOT_DONE, Prefix=calls.place.prefix, MaxKeys=1)
    except StorageError as refusal:
        versioned = examined(calls).versioned
        if refusal.code == "storage.protocol" and not versioned:
            return False  # it doesn't know the question
        if refusal.code == "storage.refused" and versioned is False:
            return False  # it says that there are none, and doesn't let us look
        raise
    return True


def _listed(calls: Calls, spared: Spared) -> Iterator[tuple[list[dict[str, str]], list[dict[str, str]]]]:
    """Yield, page by page, old versions and delete markers, as `delete_objects` takes them."""
    prefix = calls.place.prefix
    for page in pages(calls, "list_object_versions", "", "KeyMarker", "NextKeyMarker"):
        old = [one for one in page.get("Versions", ()) if not one.get("IsLatest")]
        yield (
            [_named(one) for one in old if not spared(str(one["Key"]).removeprefix(prefix))],
            [_named(one) for one in page.get("DeleteMarkers", ()) if not spared(str(one["Key"]).removeprefix(prefix))],
        )


def _named(version: dict[str, Any]) -> dict[str, str]:
    return {"Key": str(version["Key"]), "VersionId": str(version["VersionId"])}


def _delete(calls: Calls, found: Sequence[dict[str, str]]) -> None:
    for start in range(0, len(found), MOST):
        wanted = {"Objects": list(found[start : start + MOST]), "Quiet": True}
        answer = calls.call("delete_objects", calls.place.uri, NOT_DONE, Delete=wanted)
        for problem in answer.get("Errors", ()):
            raise refuse(BY_CODE.get(str(problem.get("Code")), REFUSED), calls.place.uri, NOT_DONE)
