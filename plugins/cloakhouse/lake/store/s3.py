"""A bucket of an S3 server as the lake's store.

Of racing makers one wins where the server honours `If-None-Match` (Amazon S3, MinIO). On a server that ignores it the
processes of one home still exclude each other, by a lock and a look; what is visible is decided by the control
database, and objects that several machines may make at once have the digest of their content in the name.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cloakhouse.errors import IntegrityError
from cloakhouse.keys.files import locked, new_file, storage_error
from cloakhouse.lake.store import scratch
from cloakhouse.lake.store.cache import Cache
from cloakhouse.lake.store.copies import Copy, OtherContent, Wanted
from cloakhouse.lake.store.protocol import LIMIT, ObjectInfo, checked_path, too_large
from cloakhouse.lake.store.s3_bucket import examined
from cloakhouse.lake.store.s3_calls import Calls, NotMade, NoUpload
from cloakhouse.lake.store.s3_pages import pages, server_time, utc
from cloakhouse.lake.store.s3_refusals import CONFLICT, refuse
from cloakhouse.lake.store.s3_uploads import NOT_DONE, Upload

LOCKS = 64  # names share them, so that their number stays small
WAIT_S = 60.0
ATTEMPTS = 5


@dataclass(frozen=True)
class S3Store:
    """Objects are those of one bucket below a prefix (see `ObjectStore`). Holds no client and no credentials.

    Attributes:
        calls: the server, and the patience with it.
        cache: copies of what is read.
        temporary: local folder for what is written.
        locks: folder of the locks of this home's processes.
    """

    calls: Calls
    cache: Cache
    temporary: Path
    locks: Path

    @property
    def uri(self) -> str:
        """See ObjectStore.uri."""
        return self.calls.place.uri

    @contextlib.contextmanager
    def staged(self, path: str) -> Iterator[Path]:
        """See ObjectStore.staged. The file lies in a folder of its own until it is sent."""
        self._ready(path)
        with scratch.private_folder(self.temporary) as folder:
            local = folder / path.rpartition("/")[2]
            try:
                yield local
                Upload(self.calls, path, local).run()
            except OSError as fault:
                raise storage_error(fault, local, NOT_DONE) from None
        self.cache.drop(self._wanted(path))

    def create(self, path: str, content: bytes) -> bool:
        """See ObjectStore.create, and the module."""
        self._ready(path)
        with self._alone(path):
            upload = Upload(self.calls, path, content, {"IfNoneMatch": "*"})
            for _ in range(ATTEMPTS):
                if self._head(path) is not None:
                    return False
                with contextlib.suppress(NotMade):  # by another machine; or a write that then failed
                    upload.run()
                    return True
        raise refuse(CONFLICT, path, NOT_DONE)

    def read(self, path: str, limit: int = LIMIT) -> bytes:
        """See ObjectStore.read."""
        self._ready(path)
        blocks: list[bytes] = []

        def take(block: bytes) -> None:
            blocks.append(block)
            if sum(map(len, blocks)) > limit:
                raise too_large(path, limit)

        def begin(_: dict[str, Any]) -> Callable[[bytes], None]:
            blocks.clear()
            return take

        self.calls.get(path, begin)
        return b"".join(blocks)

    def fetched(self, path: str, sha256: str | None = None) -> Path:
        """See ObjectStore.fetched: a copy in the cache, which has that digest. Raises IntegrityError for another."""
        self._ready(path)
        version = "" if sha256 is not None else str(self.calls.head(path)["ETag"])
        wanted = self._wanted(path, version, sha256)
        for _ in range(2):
            with contextlib.suppress(OtherContent):
                return self.cache.get(wanted, lambda copy: self.calls.get(path, lambda _: copy.begin()))
        raise IntegrityError(
            where=path,
            expected=f"bytes with SHA-256 {(sha256 or '')[:12]}",
            found="other bytes",
            not_done="nothing of it was read",
            remedy="restore the file from a backup of the lake; the manifest tells what it must be",
        )

    @contextlib.contextmanager
    def edited(self, path: str) -> Iterator[Path]:
        """See ObjectStore.edited: a copy, which is put back if it was changed, and if nobody else changed the object.

        Raises StorageError (`storage.conflict`) when somebody did, on a server that honours `If-Match`.
        """
        self._ready(path)
        with self._alone(path), scratch.private_folder(self.temporary) as folder:
            local = folder / "edited"
            try:
                with new_file(local) as stream:
                    copy = Copy(stream)
                    answer = self.calls.get(path, lambda _: copy.begin())
            except FileNotFoundError:
                raise
            except OSError as fault:
                raise storage_error(fault, local, "the change was not made") from None
            yield local
            if _digest(local) == copy.sha256:
                return
            try:
                Upload(self.calls, path, local, {"IfMatch": str(answer["ETag"])}).run()
            except (NotMade, FileNotFoundError):
                raise refuse(CONFLICT, path, "the change was not made") from None
            self.cache.drop(self._wanted(path))

    def stat(self, path: str) -> ObjectInfo | None:
        """See ObjectStore.stat."""
        self._ready(path)
        found = self._head(path)
        return None if found is None else ObjectInfo(path, found["ContentLength"], utc(found["LastModified"]))

    def list(self, folder: str = "") -> Iterator[ObjectInfo]:
        """See ObjectStore.list. One page is held at a time."""
        for page in pages(self.calls, "list_objects_v2", folder, "ContinuationToken", "NextContinuationToken"):
            for found in page.get("Contents", ()):
                path = str(found["Key"]).removeprefix(self.calls.place.prefix)
                if not path.rpartition("/")[2].startswith(".") and not path.endswith("/"):
                    yield ObjectInfo(path, int(found["Size"]), utc(found["LastModified"]))

    def delete(self, path: str) -> bool:
        """See ObjectStore.delete. In a bucket with versions every version goes, the one that is seen last, so that a
        removal that was killed can be finished; a delete marker is never made. Copies in this home's cache go, too."""
        bucket = self._ready(path)
        stood = self._head(path) is not None
        if not bucket.versioned:
            self._call("delete_object", path, Key=self.calls.key(path))
        for version in self._versions(path) if bucket.versioned else ():
            stood = stood or "Size" in version
            self._call("delete_object", path, Key=version["Key"], VersionId=version["VersionId"])
        self.cache.drop(self._wanted(path))
        return stood

    def clear_leftovers(self, folder: str, older_than: dt.timedelta = dt.timedelta(), marked: str = "") -> int:
        """See ObjectStore.clear_leftovers: uploads that were not completed, and this home's files of killed writers."""
        count = scratch.clear(self.temporary)
        for page in pages(self.calls, "list_multipart_uploads", folder, "KeyMarker", "NextKeyMarker"):
            newest = server_time(page) - older_than
            for upload in page.get("Uploads", ()):
                old = not older_than or utc(upload["Initiated"]) <= newest
                if old and marked in str(upload["Key"]).rpartition("/")[2]:
                    path = str(upload["Key"]).removeprefix(self.calls.place.prefix)
                    with contextlib.suppress(NoUpload):
                        self._call("abort_multipart_upload", path, Key=upload["Key"], UploadId=upload["UploadId"])
                        count += 1
        return count

    def _ready(self, path: str) -> Any:
        checked_path(path)
        return examined(self.calls)

    def _alone(self, path: str) -> contextlib.AbstractContextManager[None]:
        stripe = int(hashlib.sha256(path.encode()).hexdigest(), 16) % LOCKS
        return locked(self.locks / f"object-{stripe:02d}.lock", WAIT_S, f"writing {path}")

    def _wanted(self, path: str, version: str = "", sha256: str | None = None) -> Wanted:
        return Wanted(self.uri, path, version, sha256)

    def _head(self, path: str) -> dict[str, Any] | None:
        try:
            return self.calls.head(path)
        except FileNotFoundError:
            return None

    def _versions(self, path: str) -> Sequence[dict[str, Any]]:
        """Return the object's versions and delete markers; the one that is seen is the last."""
        found: tuple[dict[str, Any], ...] = ()
        for page in pages(self.calls, "list_object_versions", path, "KeyMarker", "NextKeyMarker", below=False):
            told = (*page.get("Versions", ()), *page.get("DeleteMarkers", ()))
            found += tuple(version for version in told if version["Key"] == self.calls.key(path))
        return sorted(found, key=lambda version: bool(version.get("IsLatest")))

    def _call(self, operation: str, path: str, **parameters: Any) -> dict[str, Any]:
        return self.calls.call(operation, path, "what was to be removed may still stand", **parameters)


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
